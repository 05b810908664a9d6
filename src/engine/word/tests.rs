//! The fields of a state word, and its transitions one after the other.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn fields_do_not_touch_each_other(
        owner in any::<u16>(), deadline in 0u64..1 << 40, other in 0u64..1 << 40, n in 0usize..9,
    ) {
        let cause = RemovalCause::ALL[n];
        let cell = AtomicState::new(State::new(owner));
        prop_assert_eq!(cell.begin(Time::from_millis(deadline)), Begin::Begun);
        prop_assert_eq!(cell.load().deadline(), Time::from_millis(deadline));
        cell.visit(cell.load());
        prop_assert_eq!(
            cell.postpone(Time::from_millis(other), Time::ZERO),
            deadline > 0 && other > deadline
        );
        prop_assert_eq!(cell.end(cause, |_| true), Ok(Owed::Nothing));
        prop_assert_eq!(cell.unlink(), Owed::Push);
        let state = cell.load();
        prop_assert_eq!(state.life(), Life::Dead);
        prop_assert_eq!(state.end(), End::Event(cause));
        prop_assert!(state.is_visited() && !state.is_linked());
        prop_assert_eq!(state.owner(), owner);
    }
}

/// What a state word says, field by field.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fields {
    owner: u16,
    life: Life,
    end: End,
    linked: bool,
    visited: bool,
    deadline: Time,
}

impl Fields {
    fn of(state: State) -> Self {
        Self {
            owner: state.owner(),
            life: state.life(),
            end: state.end(),
            linked: state.is_linked(),
            visited: state.is_visited(),
            deadline: state.deadline(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Life(Life),
    End(End),
    Deadline(Time),
    Linked(bool),
    Visit,
    Forgive,
}

fn change() -> impl Strategy<Value = Change> {
    let events = RemovalCause::ALL.map(End::Event);
    let ends = [&events[..], &[End::Replaced, End::Unpublished]].concat();
    prop_oneof![
        prop::sample::select(vec![Life::New, Life::Live, Life::Dead, Life::Replaced])
            .prop_map(Change::Life),
        prop::sample::select(ends).prop_map(Change::End),
        (0u64..1 << 40).prop_map(|millis| Change::Deadline(Time::from_millis(millis))),
        any::<bool>().prop_map(Change::Linked),
        Just(Change::Visit),
        Just(Change::Forgive),
    ]
}

proptest! {
    #[test]
    fn a_change_of_one_field_is_no_change_of_another(
        owner in any::<u16>(),
        changes in prop::collection::vec(change(), 1..20),
    ) {
        let mut state = State::new(owner);
        let mut fields = Fields {
            owner,
            life: Life::New,
            end: End::Event(RemovalCause::Taken),
            linked: false,
            visited: false,
            deadline: Time::ZERO,
        };
        prop_assert_eq!(Fields::of(state), fields);
        for change in changes {
            match change {
                Change::Life(life) => {
                    state = state.with_life(life);
                    fields.life = life;
                }
                Change::End(end) => {
                    state = state.with_end(end);
                    fields.end = end;
                    fields.life = match end {
                        End::Replaced => Life::Replaced,
                        _ => Life::Dead,
                    };
                }
                Change::Deadline(deadline) => {
                    state = state.with_deadline(deadline);
                    fields.deadline = deadline;
                }
                Change::Linked(linked) => {
                    state = state.linked(linked);
                    fields.linked = linked;
                }
                Change::Visit | Change::Forgive => {
                    let cell = AtomicState::new(state);
                    match change {
                        Change::Visit => cell.visit(state),
                        _ => prop_assert_eq!(cell.forgive(), fields.visited),
                    }
                    state = cell.load();
                    fields.visited = matches!(change, Change::Visit);
                }
            }
            prop_assert_eq!(Fields::of(state), fields);
            let owes = fields.life != Life::Live && !fields.linked;
            prop_assert_eq!(state.owes() == Owed::Push, owes);
        }
    }
}

#[test]
fn debug_tells_a_session_s_state() {
    let state = State::new(1).with_deadline(Time::from_millis(1500));
    assert_eq!(format!("{state:?}"), "New until 1.500 s");
    let cell = AtomicState::new(state);
    assert_eq!(cell.begin(Time::MAX), Begin::Begun);
    cell.visit(cell.load());
    let live = format!("{:?}", cell.load());
    assert_eq!(live, "Live+linked+visited until Time::MAX");
    assert_eq!(cell.supersede(), (true, Owed::Push));
    let replaced = format!("{:?}", cell.load());
    assert_eq!(replaced, "Replaced+visited (Replaced) until Time::MAX");
}

#[test]
fn a_session_that_was_never_added_ends_once() {
    let cell = AtomicState::new(State::new(0));
    assert!(cell.end(RemovalCause::Removed, |_| true).is_err());
    assert!(!cell.postpone(Time::MAX, Time::ZERO));
    assert!(cell.end_unadded(RemovalCause::Removed));
    assert_eq!(cell.load().end(), End::Event(RemovalCause::Removed));
    assert!(!cell.end_unadded(RemovalCause::Removed));
    assert_eq!(cell.begin(Time::MAX), Begin::Ended);
}

#[test]
fn only_a_live_session_is_postponed_and_only_to_later() {
    let at = Time::from_millis;
    let cell = AtomicState::new(State::new(0));
    assert_eq!(cell.begin(at(10)), Begin::Begun);
    assert!(!cell.postpone(at(10), at(5)));
    assert!(!cell.postpone(at(9), at(5)));
    assert!(!cell.postpone(at(30), at(10)));
    assert_eq!(cell.load().deadline(), at(10));
    assert!(cell.postpone(at(11), at(9)));
    assert_eq!(cell.load().deadline(), at(11));
}

#[test]
fn what_was_ended_before_is_superseded_without_a_new_end() {
    let cell = begun();
    assert_eq!(cell.end(RemovalCause::Taken, |_| true), Ok(Owed::Nothing));
    assert_eq!(cell.supersede(), (false, Owed::Push));
    assert_eq!(cell.load().end(), End::Event(RemovalCause::Taken));
    assert!(!cell.load().is_linked());
}

fn begun() -> AtomicState {
    let cell = AtomicState::new(State::new(0));
    assert_eq!(cell.begin(Time::MAX), Begin::Begun);
    cell
}

#[test]
fn the_push_is_owed_once_whichever_comes_first() {
    let cell = begun();
    assert_eq!(cell.end(RemovalCause::Taken, |_| true), Ok(Owed::Nothing));
    assert_eq!(cell.unlink(), Owed::Push);

    let cell = begun();
    assert_eq!(cell.unlink(), Owed::Nothing);
    assert_eq!(cell.end(RemovalCause::Taken, |_| true), Ok(Owed::Push));

    let cell = begun();
    let in_slot = cell.end_in_slot(RemovalCause::Taken, |_| true);
    assert_eq!(in_slot, Ok(Owed::Push));
    assert!(!cell.load().is_linked());
    assert_eq!(cell.unlink(), Owed::Nothing);
    assert_eq!(cell.supersede(), (false, Owed::Nothing));
    assert_eq!(cell.load().end(), End::Event(RemovalCause::Taken));

    let cell = begun();
    assert_eq!(cell.supersede(), (true, Owed::Push));
    assert!(cell.end(RemovalCause::Taken, |_| true).is_err());
    assert!(cell.end_in_slot(RemovalCause::Taken, |_| true).is_err());
    assert_eq!(cell.load().end(), End::Replaced);
}

#[test]
fn an_add_that_gives_up() {
    // Its own slot is gone: someone cleared `linked`.
    let cell = begun();
    assert_eq!(cell.unlink(), Owed::Nothing);
    assert_eq!(cell.abandon(false), (true, Owed::Push));
    // It still owns `linked`.
    assert_eq!(begun().abandon(true), (true, Owed::Push));
    // It was removed meanwhile, and still owns `linked`.
    let cell = begun();
    assert_eq!(cell.end(RemovalCause::Removed, |_| true), Ok(Owed::Nothing));
    assert_eq!(cell.abandon(true), (false, Owed::Push));
    // It was removed and unlinked meanwhile: the remover pushes.
    let cell = begun();
    assert_eq!(cell.end(RemovalCause::Removed, |_| true), Ok(Owed::Nothing));
    assert_eq!(cell.unlink(), Owed::Push);
    assert_eq!(cell.abandon(false), (false, Owed::Nothing));
}

#[test]
fn a_life_ends_once() {
    let cell = begun();
    assert_eq!(cell.begin(Time::MAX), Begin::AlreadyPresent);
    assert!(cell.end(RemovalCause::Removed, |_| false).is_err());
    assert!(cell.end_in_slot(RemovalCause::Removed, |_| false).is_err());
    assert!(cell.end(RemovalCause::Removed, |_| true).is_ok());
    assert!(cell.end(RemovalCause::Taken, |_| true).is_err());
    assert!(cell.end_in_slot(RemovalCause::Taken, |_| true).is_err());
    assert!(!cell.end_unadded(RemovalCause::Removed));
    assert_eq!(cell.begin(Time::MAX), Begin::Ended);
    assert!(!cell.postpone(Time::MAX, Time::ZERO));
}

#[test]
fn expiry_is_at_the_deadline() {
    let state = State::new(0).with_deadline(Time::from_millis(10));
    assert!(!state.is_expired(Time::from_millis(9)));
    assert!(state.is_expired(Time::from_millis(10)));
    let never = State::new(0).with_deadline(Time::MAX);
    assert!(!never.is_expired(Time::from_millis(Time::MAX.as_millis() - 1)));
}

#[test]
fn the_mark_of_a_slot_is_gone_with_the_life() {
    for cause in RemovalCause::ALL {
        let cell = begun();
        assert!(!cell.load().has_stood());
        cell.note_stood();
        cell.note_stood();
        assert!(cell.load().has_stood() && cell.load().is_linked());
        assert_eq!(cell.end(cause, |_| true), Ok(Owed::Nothing));
        assert_eq!(cell.load().end(), End::Event(cause));
        cell.note_stood();
        assert!(!cell.load().has_stood());
        assert_eq!(cell.load().end(), End::Event(cause));
    }
    let cell = begun();
    cell.note_stood();
    assert_eq!(cell.supersede(), (true, Owed::Push));
    assert_eq!(cell.load().end(), End::Replaced);
    let cell = AtomicState::new(State::new(0));
    cell.note_stood();
    assert_eq!(cell.begin(Time::MAX), Begin::Begun);
    assert!(!cell.load().has_stood());
}
