//! Calls of several connections on one cache, against a model of their states.

mod model;
mod shop;

use arbitrary::{Result, Unstructured};

use shop::Shop;

/// Few of each, so that they meet.
const CONNECTIONS: usize = 4;
const CONTEXTS: usize = 2;
const IDS: u64 = 5;
const MOST: usize = 300;

/// The server names that connections may have.
const NAMES: [Option<&str>; 3] = [None, Some("one.example"), Some("TWO.example")];

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Ends the connection of this place as it is, and begins another: the context, and whether it is a server's.
    Begin(usize, bool),
    Name(usize),
    Limit(u32),
    NotAfter(u64),
    Resume(u64),
    ResumeOnce(u64),
    /// What the network brings for an id, of a length that none has.
    ResumeStrange(usize),
    /// Offers a session that was built at some time.
    Offer(usize),
    Claim,
    Decline,
    /// Builds a session and establishes it: the id, and a timeout of its own.
    Establish(u64, Option<u64>),
    /// Establishes one that was built at some time.
    EstablishAgain(usize),
    Finish,
    Forbid,
    Renegotiate,
    Close,
    Fail,
    Clear,
    /// The cache's mode, as OpenSSL numbers it.
    Mode(u32),
    /// What the new callback answers.
    OnNew(Option<Answer>),
    /// What the get callback answers.
    OnGet(Option<Supply>),
    Add(usize),
    Take(usize, u64),
    Remove(usize),
    Invalidate(usize),
    Advance(u64),
    Maintain,
}

/// What the new callback does.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Keep,
    Refuse,
    Panic,
}

/// What the get callback hands out.
#[derive(Clone, Copy, Debug)]
enum Supply {
    Nothing,
    Panic,
    /// A new session with this server name and timeout.
    New(usize, Option<u64>),
    WrongId,
    WrongContext,
    /// One that was built at some time.
    Old(usize),
}

pub(crate) fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut shop = Shop::new();
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        // Bytes that end too early end the sequence.
        let Ok((place, op)) = step(&mut u) else {
            break;
        };
        crate::trace(&(place, op));
        shop.apply(place, op);
    }
    shop.finish();
}

fn step(u: &mut Unstructured<'_>) -> Result<(usize, Op)> {
    let place = u.int_in_range(0..=CONNECTIONS - 1)?;
    let context = |u: &mut Unstructured<'_>| u.int_in_range(0..=CONTEXTS - 1);
    let id = |u: &mut Unstructured<'_>| u.int_in_range(0..=IDS - 1);
    let name = |u: &mut Unstructured<'_>| u.int_in_range(0..=NAMES.len() - 1);
    let old = |u: &mut Unstructured<'_>| u.int_in_range(0..=63_usize);
    let op = match u.int_in_range(0..=31)? {
        0..=2 => Op::Begin(context(u)?, u.ratio(3, 4)?),
        3 => Op::Name(name(u)?),
        4 => Op::Limit(u.int_in_range(0..=2)?),
        5 => Op::NotAfter(u.int_in_range(0..=40)?),
        6 | 7 => Op::Resume(id(u)?),
        8 | 9 => Op::ResumeOnce(id(u)?),
        10 => Op::ResumeStrange(*u.choose(&[0, 33, 65_536])?),
        11 => Op::Offer(old(u)?),
        12 | 13 => Op::Claim,
        14 => Op::Decline,
        15 | 16 => Op::Establish(id(u)?, timeout(u)?),
        17 => Op::EstablishAgain(old(u)?),
        18 => Op::Finish,
        19 => Op::Forbid,
        20 => Op::Renegotiate,
        21 => Op::Close,
        22 => Op::Fail,
        23 => Op::Clear,
        24 => {
            // Mostly such that something happens; time is updated in the other target.
            let extra = *u.choose(&[0, 0, 0, 0x100, 0x200, 0x300])?;
            Op::Mode(u.int_in_range(0..=3)? | extra)
        }
        25 => Op::OnNew(match u.int_in_range(0..=3)? {
            0 => None,
            1 => Some(Answer::Keep),
            2 => Some(Answer::Refuse),
            _ => Some(Answer::Panic),
        }),
        26 => Op::OnGet(match u.int_in_range(0..=7)? {
            0 => None,
            1 => Some(Supply::Nothing),
            2 => Some(Supply::Panic),
            3 => Some(Supply::WrongId),
            4 => Some(Supply::WrongContext),
            5 => Some(Supply::Old(old(u)?)),
            _ => Some(Supply::New(name(u)?, timeout(u)?)),
        }),
        27 => Op::Add(old(u)?),
        28 => Op::Take(context(u)?, id(u)?),
        29 => match u.int_in_range(0..=3)? {
            0 => Op::Invalidate(context(u)?),
            _ => Op::Remove(old(u)?),
        },
        30 => Op::Advance(u.int_in_range(0..=20)?),
        _ => Op::Maintain,
    };
    Ok((place, op))
}

fn timeout(u: &mut Unstructured<'_>) -> Result<Option<u64>> {
    match u.ratio(1, 3)? {
        true => Ok(Some(u.int_in_range(0..=30)?)),
        false => Ok(None),
    }
}
