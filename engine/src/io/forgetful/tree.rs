//! Folders and files of a simulated disk: names as they are, and as they are on the device.

use std::{
    cmp::Ordering,
    ffi::OsStr,
    io::{self, ErrorKind},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use fastrand::Rng;

use super::content::{Content, Unit};

/// Number of a file or folder; names point to it, open files too.
pub(super) type NodeId = usize;
const ROOT: NodeId = 0;

/// All files and folders.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// By number; `None`: what a power cut took. A number is never given twice, as open files go by it.
    nodes: Vec<Option<Node>>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Folder(Folder),
}

#[derive(Debug, Clone, Default)]
pub(super) struct FileNode {
    pub(super) content: Content,
    /// Bytes of disk space that were taken for it.
    pub(super) charged: u64,
    pub(super) modified_ms: i64,
}

/// Names with the changes that no sync of the folder has made durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    pub(super) now: Names,
    durable: Names,
    unsynced: Vec<Change>,
}

/// The names of a folder, in their order: few, and often copied.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Vec<(Name, NodeId)>);

type Name = Arc<OsStr>;

#[derive(Debug, Clone)]
enum Change {
    Link(Name, NodeId),
    Unlink(Name),
    /// Within one folder a rename is atomic. From folder to folder it is a link here and an unlink
    /// there, each durable with its own folder.
    Rename(Name, Name),
}

impl Names {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsStr, NodeId)> {
        self.0.iter().map(|(name, id)| (&**name, *id))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, name: &OsStr) -> Option<NodeId> {
        self.search(name).ok().map(|at| self.0[at].1)
    }

    fn insert(&mut self, name: &Name, id: NodeId) {
        match self.search(name) {
            Ok(at) => self.0[at].1 = id,
            Err(at) => self.0.insert(at, (Arc::clone(name), id)),
        }
    }

    fn remove(&mut self, name: &OsStr) -> Option<NodeId> {
        self.search(name).ok().map(|at| self.0.remove(at).1)
    }

    fn search(&self, name: &OsStr) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| compare(known.as_bytes(), name.as_bytes()))
    }
}

/// As slices compare, eight bytes at a time: names of segments differ late, and a fuzzer looks at each
/// `memcmp` for something to learn, and at each turn of a loop.
fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let shorter = left.len().min(right.len());
    let (left_part, right_part) = (&left[..shorter], &right[..shorter]);
    let (Some(left_last), Some(right_last)) = (left_part.last_chunk(), right_part.last_chunk())
    else {
        return left.cmp(right);
    };
    let eights = left_part.as_chunks().0.iter().zip(right_part.as_chunks().0);
    let order = eights
        .chain([(left_last, right_last)])
        .map(|(left, right)| u64::from_be_bytes(*left).cmp(&u64::from_be_bytes(*right)))
        .find(|order| order.is_ne());
    order.unwrap_or_else(|| left.len().cmp(&right.len()))
}

impl Folder {
    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// The names after the first `kept` changes.
    fn survivor(&self, kept: usize) -> Self {
        let mut names = self.durable.clone();
        self.unsynced[..kept].iter().for_each(|change| apply(&mut names, change));
        Self { now: names.clone(), durable: names, unsynced: Vec::new() }
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Link(name, node) => {
            names.insert(name, *node);
        }
        Change::Unlink(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to, node);
            }
        }
    }
}

impl Tree {
    /// A root folder.
    pub(super) fn new() -> Self {
        Self { nodes: vec![Some(Node::Folder(Folder::default()))] }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for name in names(path) {
            node = self.folder(node)?.now.get(name?).ok_or(ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes[id].as_ref().expect("a name or an open file points to a node")
    }

    pub(super) fn file(&self, id: NodeId) -> io::Result<&FileNode> {
        match self.node(id) {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match &mut self.nodes[id] {
            Some(Node::File(file)) => Ok(file),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn folder(&self, id: NodeId) -> io::Result<&Folder> {
        match self.node(id) {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn folder_mut(&mut self, id: NodeId) -> io::Result<&mut Folder> {
        match &mut self.nodes[id] {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    /// Makes an empty file where no name stands.
    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let (folder, name) = self.place(path)?;
        self.create(folder, name, Node::File(FileNode::default()))
    }

    /// Makes an empty folder where no name stands.
    pub(super) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (folder, name) = self.place(path)?;
        self.create(folder, name, Node::Folder(Folder::default())).map(drop)
    }

    fn create(&mut self, folder: NodeId, name: &OsStr, node: Node) -> io::Result<NodeId> {
        let id = self.nodes.len();
        self.folder_mut(folder)?.change(Change::Link(name.into(), id));
        self.nodes.push(Some(node));
        Ok(id)
    }

    /// Takes the name of a file away; gives the file, which lives on for those who have it open.
    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let id = self.find(path)?;
        self.file(id)?;
        self.unlink(path).map(|()| id)
    }

    pub(super) fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        if !self.folder(self.find(path)?)?.now.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.unlink(path)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        self.folder_mut(folder)?.change(Change::Unlink(name.into()));
        Ok(())
    }

    /// Gives the file that was replaced.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<Option<NodeId>> {
        let node = self.find(from)?;
        let replaced = self.find(to).ok().filter(|replaced| *replaced != node);
        match (self.node(node), replaced.map(|replaced| self.node(replaced))) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::Folder(_), Some(Node::Folder(other))) if other.now.is_empty() => {}
            (Node::Folder(_), Some(Node::Folder(_))) => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            (Node::File(_), Some(Node::Folder(_))) => return Err(ErrorKind::IsADirectory.into()),
            (Node::Folder(_), Some(Node::File(_))) => return Err(ErrorKind::NotADirectory.into()),
        }
        let ((old_folder, old_name), (folder, name)) = (self.place(from)?, self.place(to)?);
        if old_folder == folder {
            let change = Change::Rename(old_name.into(), name.into());
            self.folder_mut(folder)?.change(change);
        } else {
            self.folder_mut(folder)?.change(Change::Link(name.into(), node));
            self.folder_mut(old_folder)?.change(Change::Unlink(old_name.into()));
        }
        Ok(replaced.filter(|replaced| self.file(*replaced).is_ok()))
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        self.folder_mut(id).map(Folder::sync)
    }

    /// Everything is on the device.
    pub(super) fn sync(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            match node {
                Node::File(file) => file.content.sync(),
                Node::Folder(folder) => folder.sync(),
            }
        }
    }

    /// What a power cut leaves: with `some` some of the unsynced changes, else none.
    pub(super) fn survivor(&self, mut some: Option<(Unit, Rng)>) -> Self {
        let mut survivors = Self { nodes: vec![None; self.nodes.len()] };
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            let node = match self.node(id) {
                Node::File(file) => {
                    let content = match &mut some {
                        Some((unit, rng)) => file.content.survivor(*unit, rng),
                        None => file.content.durable(),
                    };
                    let charged = content.len();
                    Node::File(FileNode { content, charged, modified_ms: file.modified_ms })
                }
                Node::Folder(folder) => {
                    let changes = folder.unsynced.len();
                    let kept = some.as_mut().map_or(0, |(_, rng)| rng.usize(..=changes));
                    let folder = folder.survivor(kept);
                    // A file that was moved from folder to folder may have kept both names.
                    let known = |id: &NodeId| survivors.nodes[*id].is_none();
                    open.extend(folder.now.iter().map(|(_, id)| id).filter(known));
                    Node::Folder(folder)
                }
            };
            survivors.nodes[id] = Some(node);
        }
        survivors
    }

    /// Bytes of disk space that are taken.
    pub(super) fn charged(&self) -> u64 {
        let charged = |node: &Node| match node {
            Node::File(file) => file.charged,
            Node::Folder(_) => 0,
        };
        self.nodes.iter().flatten().map(charged).sum()
    }

    fn place<'p>(&self, path: &'p Path) -> io::Result<(NodeId, &'p OsStr)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let folder = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.folder(folder)?;
        Ok((folder, name))
    }
}

/// The names along a path; a relative one starts at the root. By hand: a simulated life looks up so many
/// paths that `Path::components` takes a tenth of it.
fn names(path: &Path) -> impl Iterator<Item = io::Result<&OsStr>> {
    let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    names.filter(|name| !name.is_empty() && *name != b".").map(|name| match name {
        b".." => Err(ErrorKind::InvalidInput.into()),
        name => Ok(OsStr::from_bytes(name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_slices_are() {
        let names =
            ["", "a", "b", "12345678", "12345678a", "1234567", "12345678aaaaaaaab", "12345679"];
        for (left, right) in names.iter().flat_map(|left| names.map(|right| (left, right))) {
            assert_eq!(
                compare(left.as_bytes(), right.as_bytes()),
                left.cmp(&right),
                "{left} {right}"
            );
        }
    }
}
