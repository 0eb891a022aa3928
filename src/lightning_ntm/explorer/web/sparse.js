"use strict";
/* A sparse memory and its links, one step at a time, in double precision: writing, then reading by content and along the
links. Names are those of `SparseMemory.observe` of the package. A weighting with few entries is {places, weights}. */
const SPARSE = (() => {
  const EPSILON = 1e-12, LEAST_ACCESS = 0.005, SIMILARITY_STEP = 2 ** -14, WEIGHT_STEP = 2 ** -20;
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const positive = (x) => 1 + (x > 20 ? x : Math.log1p(Math.exp(x)));
  const counted = (count) => Array.from({ length: count }, (_, i) => i);
  const zeros = (count) => new Array(count).fill(0);

  function softmax(x) {
    const most = x.reduce((largest, value) => Math.max(largest, value), -Infinity);
    const powers = x.map((value) => Math.exp(value - most)), sum = powers.reduce((total, value) => total + value, 0);
    return powers.map((value) => value / sum);
  }

  function interpreted({ reads, width, links }, x) {
    let at = 0;
    const next = (size) => Array.from(x.subarray(at, at += size));
    const said = { read_key: next(reads * width), add: next(width) };
    const [write, reuse] = next(2).map(sigmoid);
    Object.assign(said, { write_gate: [write], reuse_gate: [reuse], read_strength: next(reads).map(positive) });
    if (links) said.read_modes = counted(reads).flatMap(() => softmax(next(3)));
    return said;
  }

  // Weightings with few entries ------------------------------------------------------------------------------------------

  /** Return the whole weight of the slot of each entry, and whether an entry is the first of its slot. */
  function merged({ places, weights }) {
    const totals = new Map();
    places.forEach((place, i) => totals.set(place, (totals.get(place) ?? 0) + weights[i]));
    return { totals: places.map((place) => totals.get(place)), first: places.map((place, i) => places.indexOf(place) === i) };
  }

  /** Return the numbers of entries from the largest weight on; then come those that are not the first of their slot. */
  function byWeight({ totals, first }) {
    const steps = totals.map((weight, i) => (first[i] ? Math.round(weight / WEIGHT_STEP) : -1));
    return counted(steps.length).sort((a, b) => steps[b] - steps[a] || a - b);
  }

  /** Return the slots with the largest weights; slots are repeated, with weight 0, where there are fewer. */
  function largest(entries, count) {
    const whole = merged(entries), order = byWeight(whole).slice(0, count);
    return { places: order.map((i) => entries.places[i]), weights: order.map((i) => (whole.first[i] ? whole.totals[i] : 0)) };
  }

  const both = (...all) => ({ places: all.flatMap(({ places }) => places), weights: all.flatMap(({ weights }) => weights) });
  const times = ({ places, weights }, factor) => ({ places, weights: weights.map((weight) => factor * weight) });

  // Writing --------------------------------------------------------------------------------------------------------------

  /** Erase the least recently accessed slot, and write there and where was read in the step before. */
  function write({ reads, width }, said, state) {
    const [gate] = said.write_gate, [reuse] = said.reuse_gate;
    const unused = state.accessed.indexOf(Math.min(...state.accessed));
    const before = { places: state.read.flatMap(({ places }) => places), weights: state.read.flatMap(({ weights }) => weights) };
    const written = times(both(times(before, reuse / reads), { places: [unused], weights: [1 - reuse] }), gate);
    state.memory.fill(0, unused * width, (unused + 1) * width);
    written.places.forEach((slot, i) => {
      for (let at = 0; at < width; at++) state.memory[slot * width + at] += written.weights[i] * said.add[at];
    });
    return written;
  }

  /** Update the rows of the slots that were written, the slots that follow those written before, and the precedence. */
  function link({ links: count }, written, { links }) {
    const { totals, first } = merged(written), { rows, following, precedence } = links;
    const changed = written.places.map((slot, i) => {
      const all = both(times(rows[slot], 1 - totals[i]), times(precedence, totals[i]));
      return largest({ places: all.places, weights: all.weights.map((weight, j) => (all.places[j] === slot ? 0 : weight)) }, count);
    });
    written.places.forEach((slot, i) => { if (first[i]) rows[slot] = changed[i]; });
    const followers = precedence.places.map((source) => {
      const slots = [...following[source], ...written.places], weights = slots.map((slot) => between(rows[slot], source));
      const order = byWeight({ totals: weights, first: merged({ places: slots, weights }).first });
      return order.slice(0, count).map((i) => slots[i]);
    });
    precedence.places.forEach((source, i) => { following[source] = followers[i]; });
    const sum = written.weights.reduce((total, weight) => total + weight, 0);
    links.precedence = largest(both(times(precedence, 1 - sum), written), count);
  }

  /** Return how far the slot of a row of the link matrix was written after another slot. */
  const between = (row, source) => row.places.reduce((sum, place, i) => sum + (place === source ? row.weights[i] : 0), 0);

  // Reading --------------------------------------------------------------------------------------------------------------

  /** Return the slots that are nearest to the key of a head, weighted by their similarity. */
  function content({ slots, width, nearest }, key, strength, memory) {
    const norm = Math.sqrt(key.reduce((sum, value) => sum + value * value, EPSILON));
    const similarities = counted(slots).map((slot) => {
      let product = 0, own = EPSILON;
      for (let i = 0, at = slot * width; i < width; i++, at++) {
        product += key[i] * memory[at];
        own += memory[at] * memory[at];
      }
      return product / (norm * Math.sqrt(own));
    });
    const steps = similarities.map((value) => Math.round(value / SIMILARITY_STEP));
    const places = counted(slots).sort((a, b) => steps[b] - steps[a] || a - b).slice(0, nearest);
    return { places, weights: softmax(places.map((slot) => strength * similarities[slot])) };
  }

  /** Return the slots written right before those that were read, b = L^T w, and right after them, f = L w. */
  function along({ rows, following }, { places, weights }, count) {
    const before = places.map((slot, i) => times(rows[slot], weights[i]));
    const after = places.map((slot, i) => ({
      places: following[slot], weights: following[slot].map((next) => between(rows[next], slot) * weights[i]) }));
    return [before, after].map((all) => largest(both(...all), count));
  }

  function entriesOf(memory, said, state, head) {
    const key = said.read_key.slice(head * memory.width, (head + 1) * memory.width);
    const near = content(memory, key, said.read_strength[head], state.memory);
    if (!memory.links) return near;
    const [backward, forward] = along(state.links, state.read[head], memory.nearest), [b, c, f] = said.read_modes.slice(3 * head);
    const all = both(times(backward, b), times(near, c), times(forward, f)), { totals, first } = merged(all);
    return { places: all.places, weights: totals.map((weight, i) => (first[i] ? weight : 0)) };
  }

  function read({ width, reads }, state) {
    state.reads = new Float64Array(reads * width);
    state.read.forEach(({ places, weights }, head) => places.forEach((slot, i) => {
      for (let at = 0; at < width; at++) state.reads[head * width + at] += weights[i] * state.memory[slot * width + at];
    }));
  }

  function dense(all, slots) {
    const result = new Float64Array(all.length * slots);
    all.forEach(({ places, weights }, row) => places.forEach((slot, i) => { result[row * slots + slot] += weights[i]; }));
    return result;
  }

  /** Run one step of the memory; `state` is changed. */
  function access(memory, interfaceVector, state) {
    const said = interpreted(memory, interfaceVector), written = write(memory, said, state);
    if (memory.links) link(memory, written, state);
    state.read = counted(memory.reads).map((head) => entriesOf(memory, said, state, head));
    read(memory, state);
    const touched = both(written, ...state.read), { totals } = merged(touched);
    touched.places.forEach((slot, i) => { if (totals[i] > LEAST_ACCESS) state.accessed[slot] = state.time; });
    state.time++;
    return { ...said, write_weights: dense([written], memory.slots), read_weights: dense(state.read, memory.slots) };
  }

  /** Return the start: a memory of zeros, of which the first slots are used first. */
  function start({ slots, width, reads, nearest, links: count }) {
    const entries = count ? 3 * nearest : nearest;
    const empty = () => ({ places: counted(count), weights: zeros(count) });
    return {
      memory: new Float64Array(slots * width), accessed: counted(slots).map((slot) => slot - slots), time: 0,
      read: counted(reads).map(() => ({ places: counted(entries).map((i) => i % slots), weights: zeros(entries) })),
      reads: new Float64Array(reads * width),
      links: { rows: counted(slots).map(empty), following: counted(slots).map(() => counted(count)), precedence: empty() },
    };
  }

  function shapes({ slots, width, reads, links }) {
    const found = { read_key: [reads, width], add: [1, width], write_gate: [], reuse_gate: [], read_strength: [reads] };
    if (links) found.read_modes = [reads, 3];
    return { ...found, write_weights: [1, slots], read_weights: [reads, slots], memory: [slots, width], reads: [reads, width] };
  }

  return { access, start, shapes };
})();
if (typeof module !== "undefined") module.exports = SPARSE;
