//! Cuts a window's tokens into segments by their times, and says where the next window begins.

use super::RATE;
use super::mel::HOP;
use super::words::TICK_S;

/// Frames for each token of time.
const FRAMES_A_TICK: usize = 2;

/// Tokens from one time to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) start_s: f64,
    pub(super) end_s: f64,
    pub(super) tokens: Vec<u32>,
}

/// The segments of a window that begins at a frame and has so many frames of the recording, and how many
/// of these are done with. `time` is the token of time 0.
pub(super) fn cut(tokens: &[u32], time: u32, from: usize, frames: usize) -> (Vec<Cut>, usize) {
    let seconds = |frames: usize| (frames * HOP) as f64 / RATE as f64;
    let ticks = |id: u32| f64::from(id.saturating_sub(time)) * TICK_S;
    let offset = seconds(from);
    let is_time = |at: usize| tokens[at] >= time;
    // Between two times one segment ends and the next begins.
    let mut ends: Vec<usize> = (1..tokens.len())
        .filter(|&at| is_time(at - 1) && is_time(at))
        .collect();
    if ends.is_empty() {
        let last = tokens.iter().rev().find(|&&id| id > time);
        let length = last.map_or(seconds(frames), |&id| ticks(id).min(seconds(frames)));
        let whole = Cut {
            start_s: offset,
            end_s: offset + length,
            tokens: tokens.to_vec(),
        };
        return (vec![whole], frames);
    }
    let count = tokens.len();
    // One time alone at the end: nothing was cut off by the window's end.
    let complete = is_time(count - 1) && !is_time(count - 2);
    if complete {
        ends.push(count);
    }
    let mut start = 0;
    let mut cuts = Vec::with_capacity(ends.len());
    for end in ends {
        let tokens = &tokens[start..end];
        cuts.push(Cut {
            start_s: offset + ticks(tokens[0]),
            end_s: offset + ticks(tokens[tokens.len() - 1]),
            tokens: tokens.to_vec(),
        });
        start = end;
    }
    let done = (tokens[start - 1].saturating_sub(time)) as usize * FRAMES_A_TICK;
    // A window that ends where it begins would be heard for ever.
    let done = if complete || done == 0 { frames } else { done };
    (cuts, done.min(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u32 = 100;

    fn at(seconds: f64) -> u32 {
        TIME + (seconds / TICK_S).round() as u32
    }

    fn spans(cuts: &[Cut]) -> Vec<(f64, f64, usize)> {
        let round = |s: f64| (s * 100.0).round() / 100.0;
        let span = |cut: &Cut| (round(cut.start_s), round(cut.end_s), cut.tokens.len());
        cuts.iter().map(span).collect()
    }

    #[test]
    fn the_next_window_begins_where_the_last_whole_segment_ends() {
        let tokens = [at(0.0), 1, 2, at(4.0), at(5.0), 3, at(9.5), at(9.5), 4];
        let (cuts, done) = cut(&tokens, TIME, 1_000, 3_000);
        assert_eq!(spans(&cuts), [(10.0, 14.0, 4), (15.0, 19.5, 3)]);
        assert_eq!(done, 950);
    }

    #[test]
    fn a_time_alone_at_the_end_completes_the_window() {
        let tokens = [at(0.0), 1, at(4.0), at(4.0), 2, at(8.0)];
        let (cuts, done) = cut(&tokens, TIME, 0, 3_000);
        assert_eq!(spans(&cuts), [(0.0, 4.0, 3), (4.0, 8.0, 3)]);
        assert_eq!(done, 3_000);
    }

    #[test]
    fn without_pairs_the_window_is_one_segment() {
        let (cuts, done) = cut(&[at(0.0), 1, 2, at(6.0)], TIME, 500, 700);
        assert_eq!(spans(&cuts), [(5.0, 11.0, 4)]);
        assert_eq!(done, 700);
        let (cuts, _) = cut(&[at(0.0), 1], TIME, 0, 250);
        assert_eq!(spans(&cuts), [(0.0, 2.5, 2)]);
        let (cuts, _) = cut(&[], TIME, 0, 250);
        assert_eq!(spans(&cuts), [(0.0, 2.5, 0)]);
    }

    #[test]
    fn it_always_goes_on() {
        let (_, done) = cut(&[at(0.0), 1, at(0.0), at(0.0), 2], TIME, 0, 3_000);
        assert_eq!(done, 3_000);
        let (_, done) = cut(&[at(0.0), 1, at(20.0), at(20.0), 2], TIME, 0, 300);
        assert_eq!(done, 300);
    }
}
