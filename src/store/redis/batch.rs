//! Writes in batches, each to the node that has its key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ::redis::{Cmd, Value, cmd};

use crate::store::StoreError;
use crate::store::pool::Caller;
use crate::store::redis::Redis;
use crate::store::redis::link::{nonsense, refusal};
use crate::store::redis::topology::{Node, Redirect, redirect};

/// What is to go to one node: places in the batch, and whether to say ASKING before.
struct Group {
    node: Arc<Node>,
    steps: Vec<(usize, bool)>,
}

/// A command by its place in the batch, and where it was sent on to by whom, if it was.
type Step = (usize, Option<(Arc<Node>, Redirect)>);

impl Redis {
    /// Sends all commands, those of one key in their order. Once more, where a cluster has moved a key.
    pub(super) fn write_all(
        &self,
        commands: &[(Vec<u8>, Cmd)],
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let mut first_error = None;
        let first: Vec<Step> = (0..commands.len()).map(|index| (index, None)).collect();
        let moved = self.write_round(commands, first, deadline, &mut first_error)?;
        let moved = if moved.is_empty() {
            moved
        } else {
            self.write_round(commands, moved, deadline, &mut first_error)?
        };
        match first_error {
            Some(error) => Err(error),
            None if moved.is_empty() => Ok(()),
            None => Err(StoreError::Unavailable("slots are being moved".to_owned())),
        }
    }

    /// Sends some of them. Returns those that were sent elsewhere, with where from and where to.
    fn write_round(
        &self,
        commands: &[(Vec<u8>, Cmd)],
        steps: Vec<Step>,
        deadline: Instant,
        first_error: &mut Option<StoreError>,
    ) -> Result<Vec<Step>, StoreError> {
        let topology = self.topology(Caller::Worker, deadline)?;
        let mut groups: Vec<Group> = Vec::new();
        let mut known = HashMap::new();
        for (index, redirected) in steps {
            let (node, ask) = match redirected {
                Some((from, to)) => {
                    let node = self.elsewhere(Caller::Worker, &topology, &from, &to)?;
                    (node, to.ask)
                }
                None => (topology.of(&commands[index].0)?.clone(), false),
            };
            let group = *known
                .entry(node.address().place.clone())
                .or_insert_with(|| {
                    groups.push(Group {
                        node,
                        steps: Vec::new(),
                    });
                    groups.len() - 1
                });
            groups[group].steps.push((index, ask));
        }
        // Who stands goes first: a node that is gone must not use up the time of the others.
        groups.sort_by_key(|group| !group.node.stands());
        let mut moved = Vec::new();
        for group in &groups {
            let mut bundle = Vec::with_capacity(group.steps.len());
            for &(index, ask) in &group.steps {
                if ask {
                    bundle.push(cmd("ASKING"));
                }
                bundle.push(commands[index].1.clone());
            }
            match self.exchange(Caller::Worker, &group.node, &bundle, deadline) {
                Ok(answers) => {
                    let mut answers = answers.into_iter();
                    for &(index, ask) in &group.steps {
                        if ask {
                            answers.next();
                        }
                        match answers.next() {
                            Some(Value::Okay | Value::Int(_)) => {}
                            Some(Value::ServerError(error)) => {
                                match redirect(&error, &group.node.address().place) {
                                    Some(to) => {
                                        moved.push((index, Some((group.node.clone(), to))));
                                    }
                                    None => {
                                        first_error.get_or_insert_with(|| refusal(&error));
                                    }
                                }
                            }
                            _ => {
                                first_error.get_or_insert_with(|| nonsense("not what SET answers"));
                            }
                        }
                    }
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        // In the batch's order, which is that of each key.
        moved.sort_by_key(|&(index, _)| index);
        Ok(moved)
    }
}
