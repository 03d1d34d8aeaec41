// A radial layout: the post in the middle, each step of passing on a ring further out. Pure.

/** A number in [0, 1) that always belongs to the same place, so that dots do not dance. */
const scatter = (place) => (Math.imul(place + 1, 2654435761) >>> 0) / 2 ** 32;

/**
 * Places nodes in a disc of radius 1. `parents[i]` is the place of the parent of node i, before i, or -1 for the post;
 * `weights[i]` is the number of nodes at and below i. A branch gets an angle by its weight; those that nobody passed on
 * are spread over the breadth of their ring. Returns {x, y, depth}.
 */
export function radialLayout(parents, weights) {
  const size = parents.length;
  const [x, y, depth] = [new Float32Array(size), new Float32Array(size), new Uint16Array(size)];
  let deepest = 1;
  for (let node = 0; node < size; node += 1) {
    depth[node] = parents[node] < 0 ? 1 : depth[parents[node]] + 1;
    deepest = Math.max(deepest, depth[node]);
  }
  // A square root keeps a single giant from squeezing all others together.
  const share = weights.map((weight) => Math.max(1, weight) ** 0.8);
  const below = new Float64Array(size + 1);
  for (let node = 0; node < size; node += 1) below[parents[node] < 0 ? size : parents[node]] += share[node];
  const [start, wide, used] = [new Float64Array(size + 1), new Float64Array(size + 1), new Float64Array(size + 1)];
  start[size] = -Math.PI / 2;
  wide[size] = 2 * Math.PI;
  // A ring is as wide as the square root of its nodes asks for, so that the crowded ones have room.
  const levels = new Float64Array(deepest + 1);
  for (let node = 0; node < size; node += 1) levels[depth[node]] += 1;
  const reach = new Float64Array(deepest + 1);
  for (let step = 1; step <= deepest; step += 1) reach[step] = reach[step - 1] + Math.sqrt(levels[step]) + 0.25 * Math.sqrt(size / deepest);
  const ring = (step) => 0.08 + 0.92 * (reach[step] / reach[deepest]);
  for (let node = 0; node < size; node += 1) {
    const parent = parents[node] < 0 ? size : parents[node];
    wide[node] = (wide[parent] * share[node]) / below[parent];
    start[node] = start[parent] + (wide[parent] * used[parent]) / below[parent];
    used[parent] += share[node];
    const gap = ring(depth[node]) - ring(depth[node] - 1);
    const inwards = weights[node] > 1 ? 0.1 : 0.75 * scatter(node);
    const radius = ring(depth[node]) - gap * inwards;
    const angle = start[node] + wide[node] * (weights[node] > 1 ? 0.5 : 0.25 + 0.5 * scatter(node + size));
    x[node] = radius * Math.cos(angle);
    y[node] = radius * Math.sin(angle);
  }
  return { x, y, depth };
}

/** The branch (its number in the list, or -1) that each node belongs to; `roots` are the places of the branches. */
export function branchesOf(parents, roots) {
  const found = new Int8Array(parents.length).fill(-1);
  roots.forEach((root, number) => {
    if (root >= 0) found[root] = number;
  });
  for (let node = 0; node < parents.length; node += 1) {
    if (found[node] < 0 && parents[node] >= 0) found[node] = found[parents[node]];
  }
  return found;
}
