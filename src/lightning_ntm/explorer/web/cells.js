"use strict";
/* The mathematics of stacks and of tapes, and what a picture shows of them.

The arrays have the names and shapes of the package: `stacks` or `tapes` are (number, slots, width), the top of a stack or
the cell at the head of a tape first. */
const CELLS = (() => {
  const EMPTY = 0.01, MARGIN = 2, SQUARED = 40;

  const start = ({ kind, count, slots, width }) => ({
    [kind]: new Float64Array(count * slots * width), reads: new Float64Array(count * width) });

  function shapes({ kind, count, slots, width, actions }) {
    const found = { [kind]: [count, slots, width] };
    return kind === "stacks" ? { ...found, stack_actions: [count, actions], pushed: [count, width] }
      : { ...found, tape_actions: [count, actions], moves: [actions], written: [count, width] };
  }

  /** Run one step; `state` is changed.
   *  @param said the logits of the actions, then the vectors to push or to write
   *  @param length steps of the input, by which heads of tapes jump */
  function access(memory, said, state, length, softmax) {
    const { kind, count, slots, width, actions } = memory, size = slots * width, weights = new Float64Array(count * actions);
    const given = said.subarray(count * actions), moves = Float64Array.from([0, -1, 1, -length, length].slice(0, actions));
    const before = state[kind];
    state[kind] = new Float64Array(before.length);
    for (let number = 0; number < count; number++) {
      const own = softmax(said.subarray(number * actions, (number + 1) * actions));
      const from = before.subarray(number * size, (number + 1) * size), to = state[kind].subarray(number * size, (number + 1) * size);
      const vector = given.subarray(number * width, (number + 1) * width);
      weights.set(own, number * actions);
      if (kind === "stacks") updateStack(from, to, own, vector);
      else updateTape(from, to, own, vector, moves);
      state.reads.set(to.subarray(0, width), number * width);
    }
    return kind === "stacks" ? { stack_actions: weights, pushed: given } : { tape_actions: weights, moves, written: given };
  }

  /** Push, pop and no action, by their weights; below the last slot there are zeros. */
  function updateStack(from, to, [push, pop, none], pushed) {
    const width = pushed.length;
    for (let i = 0; i < to.length; i++) {
      to[i] = push * (i < width ? pushed[i] : from[i - width]) + none * from[i] + pop * (i + width < from.length ? from[i + width] : 0);
    }
  }

  /** Overwrite the cell at the head, then move the head, by the weights of the actions; a tape is a circle. */
  function updateTape(from, to, weights, written, moves) {
    const width = written.length, slots = from.length / width;
    from.set(written);
    weights.forEach((weight, action) => {
      for (let slot = 0; slot < slots; slot++) {
        const other = (((slot + moves[action]) % slots) + slots) % slots;
        for (let i = 0; i < width; i++) to[slot * width + i] += weight * from[other * width + i];
      }
    });
  }

  // What a picture shows -------------------------------------------------------------------------------------------------

  /** Return what stacks and tapes hold, a number for each cell, and the row of the head of a tape, as the package does. */
  function shown(trace) {
    const found = {};
    for (const kind of ["stack", "tape"]) {
      const all = trace[`${kind}s`];
      for (let number = 0; number < (all ? all.shape[1] : 0); number++) {
        const one = part(all, number), { heads, slots } = kind === "stack" ? depth(one) : onTape(one, trace, number);
        found[`cells_${kind}_${number + 1}`] = chosen(shades(one), slots);
        if (heads) found[`head_tape_${number + 1}`] = { shape: [one.time], data: heads.map((head) => slots.indexOf(head)) };
      }
    }
    return found;
  }

  /** Return the cells of one stack or tape as {time, slots, width, of(time, slot, i)}. */
  function part({ shape: [time, count, slots, width], data }, number) {
    const of = (t, slot, i) => data[((t * count + number) * slots + slot) * width + i];
    return { time, slots, width, of };
  }

  /** Return which slots ever hold more than a hundredth of the largest number. */
  function used({ time, slots, width, of }) {
    const largest = new Float64Array(slots);
    for (let t = 0; t < time; t++) {
      for (let slot = 0; slot < slots; slot++) {
        for (let i = 0; i < width; i++) largest[slot] = Math.max(largest[slot], Math.abs(of(t, slot, i)));
      }
    }
    const least = EMPTY * largest.reduce((most, value) => Math.max(most, value), 1e-12);
    return Array.from(largest, (value) => value > least);
  }

  function depth(stack) {
    const count = Math.min(stack.slots, Math.max(0, used(stack).lastIndexOf(true)) + 1 + MARGIN);
    return { slots: Array.from({ length: count }, (_, slot) => slot) };
  }

  /** Put the cells of a tape at fixed places, and return the slots to show and the slot of the head in each step. */
  function onTape(tape, { tape_actions: { shape: [, count, actions], data: weights }, moves }, number) {
    const { slots, of } = tape, heads = new Float64Array(tape.time), circle = (slot) => ((slot % slots) + slots) % slots;
    let moved = 0;
    for (let t = 0; t < tape.time; t++) {
      for (let i = 0; i < actions; i++) moved += weights[(t * count + number) * actions + i] * moves.data[t * actions + i];
      heads[t] = circle(Math.round(moved));
    }
    tape.of = (t, slot, i) => of(t, circle(slot - heads[t]), i);
    const places = used(tape);
    for (const head of heads) places[head] = true;
    return { heads, slots: around(places) };
  }

  /** Return the slots that are used as one run around the circle. */
  function around(places) {
    const slots = places.length, found = places.flatMap((is, slot) => (is ? [slot] : []));
    let [widest, first] = [0, 0];
    found.forEach((slot, i) => {
      const next = found[i + 1] ?? found[0] + slots;
      if (next - slot > widest) [widest, first] = [next - slot, next - MARGIN];
    });
    if (widest <= 2 * MARGIN) return Array.from({ length: slots }, (_, slot) => slot);
    return Array.from({ length: slots - widest + 1 + 2 * MARGIN }, (_, i) => (((first + i) % slots) + slots) % slots);
  }

  /** Return a number for each cell: its projection on the direction in which all cells have most. */
  function shades({ time, slots, width, of }) {
    let matrix = Array.from({ length: width }, () => new Float64Array(width));
    for (let t = 0; t < time; t++) {
      for (let slot = 0; slot < slots; slot++) {
        for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) matrix[i][j] += of(t, slot, i) * of(t, slot, j);
      }
    }
    const direction = largestDirection(matrix), data = new Float64Array(time * slots);
    for (let t = 0, at = 0; t < time; t++) {
      for (let slot = 0; slot < slots; slot++, at++) {
        for (let i = 0; i < width; i++) data[at] += direction[i] * of(t, slot, i);
      }
    }
    return { shape: [time, slots], data };
  }

  /** Return the eigenvector of the largest eigenvalue, whose largest number is positive: the matrix is squared until it
   *  projects on it. */
  function largestDirection(matrix) {
    const size = matrix.length, trace = (of) => of.reduce((sum, row, i) => sum + row[i], 0);
    for (let time = 0; time < SQUARED && trace(matrix) > 0; time++) {
      const scale = trace(matrix), scaled = matrix.map((row) => row.map((value) => value / scale));
      matrix = scaled.map((row) => Float64Array.from({ length: size }, (_, j) => row.reduce((sum, value, k) => sum + value * scaled[k][j], 0)));
    }
    const longest = matrix.reduce((best, row, i) => (row[i] > matrix[best][best] ? i : best), 0), vector = matrix[longest];
    const length = Math.hypot(...vector), largest = vector.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    return vector.map((value) => (length ? (value * Math.sign(largest)) / length : 0));
  }

  function chosen({ shape: [time, slots], data }, rows) {
    const result = new Float64Array(time * rows.length);
    for (let t = 0, at = 0; t < time; t++) for (const slot of rows) result[at++] = data[t * slots + slot];
    return { shape: [time, rows.length], data: result };
  }

  return { start, shapes, access, shown };
})();
if (typeof module !== "undefined") module.exports = CELLS;
