/** Subjects with wildcards as sets: `*` is one token, `>` one or more. Pure. */

/** True if every subject that `inner` matches is matched by `outer`. */
export function covers(outer: string, inner: string): boolean {
  const wide = outer.split(".");
  const narrow = inner.split(".");
  for (const [place, token] of wide.entries()) {
    const other = narrow[place];
    if (other === undefined) return false;
    if (token === ">") return true;
    if (other === ">" || (token !== "*" && token !== other)) return false;
  }
  return wide.length === narrow.length;
}

/** What both match, or undefined if nothing. Two such sets always meet in one. */
export function meet(a: string, b: string): string | undefined {
  const left = a.split(".");
  const right = b.split(".");
  const both: string[] = [];
  for (let place = 0; ; place++) {
    const [l, r] = [left[place], right[place]];
    if (l === undefined && r === undefined) return both.join(".");
    if (l === undefined || r === undefined) return undefined;
    if (l === ">") return [...both, ...right.slice(place)].join(".");
    if (r === ">") return [...both, ...left.slice(place)].join(".");
    if (l !== r && l !== "*" && r !== "*") return undefined;
    both.push(l === "*" ? r : l);
  }
}
