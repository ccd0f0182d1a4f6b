//! Planted races: each is a mistake that is easily made at that place. A scenario that never failed
//! proves nothing, so each race is planted, and must be found.

use std::cell::Cell;

/// A planted race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Race {
    /// Who raises a watermark looks for waiters before it changes the number.
    LowestBeforeNumber,
    /// Who waits looks at the number before it shows that it waits.
    NumberBeforeLowest,
    /// Who leaves the line takes the mark of those behind along.
    LeaveForgetsOthers,
    /// A reset leaves those waiting whose number was cut off.
    ResetTellsNobody,
    /// An end is told to those who come, not to those who wait.
    EndTellsNobody,
    /// A leader gives its files back and calls nobody.
    ReleasedInSilence,
    /// Who is called to lead what it does not need any more calls nobody else.
    CallNotPassedOn,
    /// Between the look at the files and the place in the line others get the lock.
    LineLetGo,
    /// A sync counts for what was written while it ran.
    SyncCountsLaterBytes,
    /// A sync that began before a truncation counts for what was written after it.
    GenerationIgnored,
    /// A failed sync is told to nobody.
    FailureTellsNobody,
    /// A reader does not look at the sequence again.
    SequenceNotRechecked,
    /// A writer does not show that it writes.
    WriteNotShown,
    /// What was read under a view is believed without a second look.
    ViewNotConfirmed,
    /// A reader's finding replaces what the appender has said.
    SuggestedBlindly,
    /// Between the look at a pool's bytes and the taking others take them.
    TakenTwice,
    /// Who comes takes a pool's bytes although others stand in line.
    LineOvertaken,
    /// Who gives up in a pool's line lets nobody through.
    DropServesNobody,
    /// Who gives up after it was served keeps the bytes.
    ServedBytesKept,
    /// Those in line hear nothing of a pool's close.
    CloseTellsNobody,
    /// Who waits for a batch's fate does not look again once it is among those who wait.
    FateNotLookedAt,
    /// A reader does not look whether its segment was deleted meanwhile.
    RetiredUnchecked,
    /// A read that a truncation overtook is believed.
    ReadNotSteady,
    /// A commit that a truncation overtook says that records are durable.
    PlanOutlivesCut,
    /// A commit counts for what was appended while it ran.
    PlanCoversLater,
    /// Who waits for readable records is not told of them.
    ReadersNotWoken,
    /// The sender sleeps without a look at what came since the last.
    SleepsUnasked,
    /// A flush does not wake the sender.
    HurryInSilence,
    /// Who waits for memory does not say so.
    ExhaustedUnsaid,
    /// A close does not wake the sender.
    CloseInSilence,
    /// Between a committer's look at its inbox and its sleep others get the lock.
    InboxLetGo,
    /// A writer's mark, and what was done before, is not ordered before what it writes.
    WriteNotFenced,
    /// A reader's second look is not ordered behind what it read.
    LookNotFenced,
    /// A truncation is not ordered before what is done to the file.
    CutNotFenced,
    /// The look for a truncation is not ordered behind what was read of the file.
    ReadNotFenced,
    /// The count of entries is not ordered behind the entry.
    EntryNotReleased,
}

impl Race {
    /// Those that a scenario here must find.
    pub(crate) const ALL: &[Self] = &[
        Self::LowestBeforeNumber,
        Self::NumberBeforeLowest,
        Self::LeaveForgetsOthers,
        Self::ResetTellsNobody,
        Self::EndTellsNobody,
        Self::ReleasedInSilence,
        Self::CallNotPassedOn,
        Self::LineLetGo,
        Self::SyncCountsLaterBytes,
        Self::GenerationIgnored,
        Self::FailureTellsNobody,
        Self::SequenceNotRechecked,
        Self::WriteNotShown,
        Self::ViewNotConfirmed,
        Self::SuggestedBlindly,
        Self::TakenTwice,
        Self::LineOvertaken,
        Self::DropServesNobody,
        Self::ServedBytesKept,
        Self::CloseTellsNobody,
        Self::FateNotLookedAt,
        Self::RetiredUnchecked,
        Self::ReadNotSteady,
        Self::PlanOutlivesCut,
        Self::PlanCoversLater,
        Self::ReadersNotWoken,
        Self::SleepsUnasked,
        Self::HurryInSilence,
        Self::ExhaustedUnsaid,
        Self::CloseInSilence,
        Self::InboxLetGo,
    ];
    /// Those that no scheduler finds that knows one order of all steps: `tests/orderings` does.
    pub(crate) const OF_ORDERINGS: &[Self] = &[
        Self::WriteNotFenced,
        Self::LookNotFenced,
        Self::CutNotFenced,
        Self::ReadNotFenced,
        Self::EntryNotReleased,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Race>> = const { Cell::new(None) };
}

/// Plants `race` in all schedules that the calling thread explores; `None`: no race.
pub(crate) fn plant(race: Option<Race>) {
    PLANTED.set(race);
}

pub(crate) fn is_planted(race: Race) -> bool {
    PLANTED.get() == Some(race)
}

/// Whether any race is planted.
pub(crate) fn is_any_planted() -> bool {
    PLANTED.get().is_some()
}
