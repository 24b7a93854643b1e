// Questions and changes; each change carries what only a page of ours knows.

let change = null;
export let changes = false;

export class Refused extends Error {}

async function answered(response) {
  const value = await response.json().catch(() => ({ error: response.statusText }));
  if (response.status === 401) throw new Refused(value.error);
  if (!response.ok) throw Object.assign(new Error(value.error ?? `status ${response.status}`), { caution: value.caution });
  return value;
}

export const ask = async (path) => answered(await fetch(path, { headers: { Accept: "application/json" } }));

export const send = async (path, value) => answered(await fetch(path, {
  method: "POST", headers: { "Content-Type": "application/json", "X-Warren-Change": change ?? "" }, body: JSON.stringify(value),
}));

export async function session() {
  const told = await ask("/api/session");
  ({ changes, change } = told);
}

export const signIn = (token) => send("/session", { token });
