//! A few threads that share out the pieces of one task at a time.
//!
//! Every piece is computed by one thread alone, so results do not depend on how many there are. A
//! thread without work looks out for more for a few microseconds, then sleeps: the steps of a model
//! follow one another within that time, and beyond it the rest of the machine is not disturbed. The
//! caller works too and takes whatever pieces are left, so a helper that the system has put aside holds
//! up nothing but the piece that it holds.

use std::any::Any;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};

/// How often a thread looks before it sleeps; some tens of microseconds.
const LOOKS: usize = 2_000;

/// Threads that wait for tasks.
pub struct Pool {
    shared: Arc<Board>,
    helpers: Vec<JoinHandle<()>>,
    /// One task at a time.
    turn: Mutex<()>,
}

/// The system gave no thread.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no thread: {0}")]
pub struct PoolError(String);

/// Where a task is posted. What different threads write lies on different cache lines.
#[derive(Default)]
struct Board {
    /// Counts rounds by [`ROUND`], odd while one is open for helpers to join, and the helpers inside by
    /// ones.
    state: Line<AtomicUsize>,
    /// The task of the open round; valid while the round is open or somebody is inside.
    task: Line<AtomicPtr<Work<'static>>>,
    asleep: Line<AtomicUsize>,
    sleepers: Mutex<Vec<Thread>>,
    end: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// More than there are helpers.
const ROUND: usize = 1 << 16;

/// Alone on its cache lines; processors fetch pairs of them.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

struct Work<'a> {
    next: Line<AtomicUsize>,
    pieces: usize,
    each: &'a (dyn Fn(usize, usize) + Sync),
}

impl Work<'_> {
    fn share(&self, thread: usize) {
        loop {
            let piece = self.next.0.fetch_add(1, Ordering::Relaxed);
            if piece >= self.pieces {
                return;
            }
            (self.each)(piece, thread);
        }
    }
}

impl Pool {
    /// So many threads, the caller's own among them; at least 1, and no more in WebAssembly, which has
    /// no others.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(threads: usize) -> Result<Self, PoolError> {
        let shared = Arc::new(Board::default());
        let mut pool = Self {
            shared,
            helpers: Vec::new(),
            turn: Mutex::new(()),
        };
        let threads = if cfg!(target_family = "wasm") {
            1
        } else {
            threads
        };
        for index in 1..threads {
            let board = Arc::clone(&pool.shared);
            let helper = thread::Builder::new()
                .name(format!("compute-{index}"))
                .spawn(move || help(&board, index))
                .map_err(|e| PoolError(e.to_string()))?;
            pool.helpers.push(helper);
        }
        Ok(pool)
    }

    /// How many threads work, the caller's included.
    pub fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `each` once with every piece from 0, and with the number of the thread that it runs on.
    ///
    /// # Panics
    /// When `each` does.
    pub fn run(&self, pieces: usize, each: impl Fn(usize, usize) + Sync) {
        if self.helpers.is_empty() || pieces <= 1 {
            for piece in 0..pieces {
                each(piece, 0);
            }
            return;
        }
        let _turn = self
            .turn
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let work = Work {
            next: Line::default(),
            pieces,
            each: &each,
        };
        let board = &*self.shared;
        board.task.0.store(
            (&raw const work).cast::<Work<'static>>().cast_mut(),
            Ordering::Relaxed,
        );
        board.state.0.fetch_add(ROUND, Ordering::SeqCst);
        // Nobody is inside any more when this is dropped, so the task outlives all who see it.
        let closing = Closing(board);
        if board.asleep.0.load(Ordering::SeqCst) > 0 {
            for sleeper in lock(&board.sleepers).drain(..) {
                sleeper.unpark();
            }
        }
        work.share(0);
        drop(closing);
        if let Some(panic) = lock(&board.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Pool {
    /// Calls `each` once with every item and its number; a thread takes `together` of them at a time.
    ///
    /// # Panics
    /// When `each` does.
    pub fn each<T: Send>(
        &self,
        items: &mut [T],
        together: usize,
        each: impl Fn(usize, &mut T) + Sync,
    ) {
        let (count, together) = (items.len(), together.max(1));
        let shared = Shared::new(items);
        self.run(count.div_ceil(together), |piece, _| {
            let first = piece * together;
            // SAFETY: every piece is a range of its own, and each is taken once.
            let items = unsafe { shared.slice(first, together.min(count - first)) };
            for (offset, item) in items.iter_mut().enumerate() {
                each(first + offset, item);
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper catches the panics of its tasks.
            let _ = helper.join();
        }
    }
}

/// Takes the task off the board, however the caller's share ended, and waits for the helpers inside.
struct Closing<'a>(&'a Board);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        // Nobody joins from here on.
        self.0.state.0.fetch_add(ROUND, Ordering::SeqCst);
        let mut looks = 0;
        while !self.0.state.0.load(Ordering::SeqCst).is_multiple_of(ROUND) {
            looks += 1;
            if looks < LOOKS {
                spin_loop();
            } else {
                // A helper that has been put aside; let it run.
                thread::yield_now();
            }
        }
    }
}

/// A helper's life.
fn help(board: &Board, index: usize) {
    let mut seen = 0;
    while !board.end.load(Ordering::SeqCst) {
        if !wait(board, seen) {
            continue;
        }
        let round = board.state.0.fetch_add(1, Ordering::SeqCst) / ROUND;
        // Either the round is seen to be over, or its end waits for this thread.
        if round % 2 == 1 && round != seen {
            seen = round;
            let task = board.task.0.load(Ordering::Relaxed);
            // SAFETY: the round was open when this thread went inside, so its task is there until
            // this thread has left, and it was written before the round was opened.
            let share = || unsafe { &*task }.share(index);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(share)) {
                lock(&board.panic).get_or_insert(panic);
            }
        }
        board.state.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits a moment for a round to join, else until woken; says whether there may be one.
fn wait(board: &Board, seen: usize) -> bool {
    let is_open = || {
        let round = board.state.0.load(Ordering::SeqCst) / ROUND;
        round % 2 == 1 && round != seen
    };
    for _ in 0..LOOKS {
        if is_open() {
            return true;
        }
        spin_loop();
    }
    lock(&board.sleepers).push(thread::current());
    board.asleep.0.fetch_add(1, Ordering::SeqCst);
    // Whoever posts after this look sees that somebody sleeps.
    if !is_open() && !board.end.load(Ordering::SeqCst) {
        thread::park();
    }
    board.asleep.0.fetch_sub(1, Ordering::SeqCst);
    let me = thread::current().id();
    lock(&board.sleepers).retain(|sleeper| sleeper.id() != me);
    is_open()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A slice whose parts are written by several threads.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: it is only a way to the parts; `slice` makes its caller keep them apart.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: likewise.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            of: PhantomData,
        }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// No two parts that exist at the same time may overlap.
    ///
    /// # Panics
    /// When the part is not within the slice.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps the parts apart")]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(
            start <= self.len && len <= self.len - start,
            "a part of the slice"
        );
        // SAFETY: within the slice, which is borrowed for as long as this lives; apart from all
        // other parts, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_piece_is_computed_once_in_every_round() {
        for threads in 1..=4 {
            let pool = Pool::new(threads).expect("there are threads");
            for round in 0..2_000 {
                let pieces = round % 37;
                let seen: Vec<_> = (0..pieces).map(|_| AtomicU32::new(0)).collect();
                pool.run(pieces, |piece, thread| {
                    assert!(thread < threads);
                    seen[piece].fetch_add(1, Ordering::Relaxed);
                });
                assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn helpers_that_slept_work_again() {
        let pool = Pool::new(3).expect("there are threads");
        for _ in 0..20 {
            thread::sleep(std::time::Duration::from_millis(3));
            let sum = AtomicUsize::new(0);
            pool.run(100, |piece, _| {
                sum.fetch_add(piece, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }

    // Elsewhere, as in WebAssembly, a panic is the end.
    #[cfg(panic = "unwind")]
    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2).expect("there are threads");
        for _ in 0..20 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(50, |piece, _| assert!(piece != 25, "one piece fails"));
            }));
            assert!(outcome.is_err());
            let done = AtomicUsize::new(0);
            pool.run(10, |_, _| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 10);
        }
    }
}
