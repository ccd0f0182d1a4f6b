//! A vocabulary with the frequencies of a natural language: common English words in front, made-up
//! words of English letters behind, drawn by Zipf's law.

use crate::keys::Zipf;

/// Different words. With the exponent this is what the text's ratio is calibrated by.
const VOCABULARY: u32 = 12_000;
const EXPONENT: f64 = 1.03;
/// Words are drawn from a table of this many draws, so that a draw is one look-up.
const DRAWS: usize = 1 << 16;
/// The vocabulary is the same for every seed of a run: a seed changes the text, not the language.
const SEED: u64 = 0x776f_7264;

/// The most frequent words of English, most frequent first.
const COMMON: &str = "the of and a to in that it his I he was with as is all for this at by but \
    not from him be on so one you had have there or were now which me like my their they then are \
    when some an no upon what out more up into them ship we if man other would ye old see over \
    these sea your been her will who only thou its than though head boat time very long how any \
    still such yet those two must great down most has said about first way men seemed too little \
    where good after did us day hand here could might thing made every white through ever came \
    round before sir last much can own away should part life well think being even let eye go \
    without under world whole right come our cried thought say off night take never water same \
    once while half know last side far place small soul deep make against crew found feet years \
    air line last heart sort captain work going seen high tell sun look back end many hands why";
const ONSETS: [&str; 32] = [
    "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "w", "s", "t", "r", "st",
    "tr", "th", "sh", "ch", "pr", "gr", "br", "cl", "fl", "sp", "pl", "wh", "", "",
];
const NUCLEI: [&str; 16] =
    ["e", "a", "o", "i", "e", "a", "i", "o", "u", "e", "ea", "ou", "ai", "ee", "io", "u"];
const CODAS: [&str; 24] = [
    "", "", "", "n", "r", "s", "t", "d", "l", "n", "r", "s", "st", "nd", "ng", "rt", "ck", "ll",
    "m", "nt", "rs", "ss", "le", "th",
];
const ENDINGS: [&str; 12] = ["", "", "", "", "ed", "ing", "s", "ly", "er", "ness", "ion", "al"];

/// A vocabulary.
#[derive(Debug)]
pub(super) struct Words {
    letters: String,
    /// Start and end in `letters`, drawn with each word's frequency.
    draws: Vec<(u32, u32)>,
    distinct: Vec<(u32, u32)>,
}

impl Words {
    pub(super) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut letters = String::new();
        let mut distinct = Vec::new();
        let mut add = |word: &str| {
            let start = letters.len() as u32;
            letters.push_str(word);
            distinct.push((start, letters.len() as u32));
        };
        let common: Vec<&str> = COMMON.split_whitespace().collect();
        for word in &common {
            add(word);
        }
        for rank in common.len()..VOCABULARY as usize {
            // Rarer words are longer, as in a language.
            let syllables = 1
                + usize::from(rank > 800 || random.bool())
                + usize::from(rank > 3_000 && random.bool());
            add(&made_up(syllables, &mut random));
        }
        let zipf = Zipf::new(VOCABULARY, EXPONENT);
        let draws = (0..DRAWS).map(|_| distinct[zipf.sample(&mut random) as usize]).collect();
        Self { letters, draws, distinct }
    }

    /// A word of the language, as often as it is used.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> &[u8] {
        self.letters(self.draws[random.usize(..DRAWS)])
    }

    /// Word `rank` of the vocabulary, the most frequent first.
    pub(super) fn nth(&self, rank: usize) -> &[u8] {
        self.letters(self.distinct[rank % self.distinct.len()])
    }

    fn letters(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.letters.as_bytes()[start as usize..end as usize]
    }
}

fn made_up(syllables: usize, random: &mut fastrand::Rng) -> String {
    let mut word = String::new();
    for _ in 0..syllables {
        word.push_str(ONSETS[random.usize(..ONSETS.len())]);
        word.push_str(NUCLEI[random.usize(..NUCLEI.len())]);
        word.push_str(CODAS[random.usize(..CODAS.len())]);
    }
    word.push_str(ENDINGS[random.usize(..ENDINGS.len())]);
    word
}
