// Where the steps of a graph stand: columns by the longest way from a source, rows by the branches.

export function layout(graph, wide, sizes) {
  const ids = graph.nodes.map((node) => node.id);
  const out = new Map(ids.map((id) => [id, []]));
  const into = new Map(ids.map((id) => [id, 0]));
  for (const edge of graph.edges) {
    if (edge.failures) continue;
    out.get(edge.source)?.push(edge.target);
    into.set(edge.target, (into.get(edge.target) ?? 0) + 1);
  }
  const rank = new Map(ids.map((id) => [id, 0]));
  const waiting = new Map(into);
  const ready = ids.filter((id) => !waiting.get(id));
  while (ready.length) {
    const id = ready.shift();
    for (const next of out.get(id)) {
      rank.set(next, Math.max(rank.get(next), rank.get(id) + 1));
      waiting.set(next, waiting.get(next) - 1);
      if (!waiting.get(next)) ready.push(next);
    }
  }
  const letters = new Set(graph.edges.filter((edge) => edge.failures).map((edge) => edge.target));
  const row = new Map();
  let free = 0;
  const place = (id) => {
    if (row.has(id)) return row.get(id);
    row.set(id, 0);
    const rows = out.get(id).filter((next) => !row.has(next)).map(place);
    row.set(id, rows.length ? (Math.min(...rows) + Math.max(...rows)) / 2 : free++);
    return row.get(id);
  };
  for (const id of ids) if (!into.get(id) && !letters.has(id)) place(id);
  for (const edge of graph.edges) {
    if (!edge.failures || row.has(edge.target)) continue;
    // Dead letters stand beside the step that they come from, where nothing else does.
    const [column, from] = [rank.get(edge.source), row.get(edge.source)];
    const taken = ids.filter((id) => row.has(id) && rank.get(id) === column).map((id) => row.get(id));
    let next = from + 1;
    while (taken.some((other) => Math.abs(other - next) < 1)) next += 1;
    rank.set(edge.target, column);
    row.set(edge.target, next);
    free = Math.max(free, next + 1);
  }
  const { width, height, gap, lane } = sizes;
  const along = wide ? width + gap : height + gap;
  const across = wide ? height + lane : width + lane;
  const at = new Map(ids.map((id) => {
    const [a, b] = [(rank.get(id) ?? 0) * along, (row.get(id) ?? 0) * across];
    return [id, wide ? { x: a, y: b } : { x: b, y: a }];
  }));
  const ranks = Math.max(0, ...rank.values()) + 1;
  const long = ranks * along - gap;
  const broad = Math.max(1, free) * across - lane;
  return { at, width: wide ? long : broad, height: wide ? broad : long };
}
