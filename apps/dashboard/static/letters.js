// Dead letters, and messages that wait in any queue: looked at, replayed, dropped. What is in them is shown as text.

import * as api from "./api.js";
import { h, moment, say, time } from "./dom.js";

const FIRST = 100;

export function letters(live) {
  const queue = h("select", { id: "queue", "aria-label": "Queue", onchange: () => { choose(queue.value); } });
  const where = h("input", {
    type: "search", placeholder: "error=TimeoutError age>1h reason~\"no answer\"", "aria-label": "Only those that fit",
    onkeydown: (event) => { if (event.key === "Enter") look(); },
  });
  const said = h("p", { class: "said-by-us", role: "status" });
  const list = h("div", {});
  const pane = h("section", { class: "card letter", "aria-label": "Message", hidden: true });
  const replayButton = h("button", { type: "button", class: "main", onclick: () => change("replay") }, "Replay all");
  const dropButton = h("button", { type: "button", class: "danger", onclick: () => change("drop") }, "Drop all");
  const element = h("div", { class: "split", "data-page": "letters" },
    h("section", { class: "card", "aria-label": "Messages" },
      h("div", { class: "head" }, h("h1", {}, "Dead letters")),
      h("div", { class: "tools" }, queue, where, h("button", { type: "button", onclick: () => look() }, "Look")),
      h("div", { class: "tools" }, replayButton, dropButton), said, list),
    pane);
  let place = "";
  let name = "";
  let rows = [];
  let limit = FIRST;
  let aware = false;
  const chosen = new Set();

  async function enter(rest) {
    const [given, wanted] = rest;
    let found = [];
    try {
      found = (await api.ask("/api/queues")).filter((each) => !each.error);
    } catch (error) {
      tell(error.message, true);
    }
    // Dead letters first, then the fullest.
    const dead = new Set([...live.pipelines.values()].flatMap((pipe) => pipe.graph?.nodes ?? []).filter((node) => node.kind === "letters").map((node) => node.queue));
    const isDead = (each) => dead.has(each.name) || each.name.endsWith(".dead");
    found.sort((a, b) => Number(isDead(b)) - Number(isDead(a)) || (b.depth ?? 0) - (a.depth ?? 0));
    queue.replaceChildren(...found.map((each) => h("option", { value: JSON.stringify([each.place, each.name]) }, `${each.name} (${each.depth ?? "?"})`)));
    if (given && wanted) choose(JSON.stringify([given, wanted]));
    else if (queue.options.length) choose(queue.value);
    else tell("There are no queues to be looked at.");
  }

  function choose(value) {
    [place, name] = JSON.parse(value);
    queue.value = value;
    limit = FIRST;
    aware = false;
    look();
  }

  const query = (more = {}) => new URLSearchParams({ place, queue: name, ...(aware ? { aware: "1" } : {}), ...more });

  async function look() {
    chosen.clear();
    try {
      rows = await api.ask(`/api/letters?${query({ where: where.value, limit })}`);
      tell(rows.length ? "" : "No such messages wait here.");
    } catch (error) {
      rows = [];
      if (error.caution) warn(error.caution);
      else tell(error.message, true);
    }
    draw();
    kinds();
  }

  // Before one is opened: which errors those that are listed have.
  function kinds() {
    const counts = new Map();
    for (const row of rows) if (row.error) counts.set(row.error, (counts.get(row.error) ?? 0) + 1);
    pane.hidden = !counts.size;
    const sorted = [...counts].sort(([, a], [, b]) => b - a);
    pane.replaceChildren(h("div", { class: "head" }, h("h2", {}, "By error"), h("span", { class: "dim" }, `of the ${rows.length} listed`)),
      h("ul", { class: "kinds" }, sorted.map(([error, count]) => h("li", {}, h("button", {
        type: "button", onclick: () => { where.value = `error=${error}`; look(); },
      }, error, h("span", { class: "dim" }, count))))));
  }

  function warn(caution) {
    said.className = "said-by-us failing";
    said.replaceChildren(`${caution}. `, h("button", { type: "button", onclick: () => { aware = true; look(); } }, "Look all the same"));
  }

  function tell(text, failing = false) {
    said.className = `said-by-us ${failing ? "failing" : "dim"}`;
    say(said, text);
  }

  function draw() {
    buttons();
    if (!rows.length) {
      list.replaceChildren();
      return;
    }
    const all = h("input", { type: "checkbox", "aria-label": "Choose all that are listed", onchange: () => {
      for (const row of rows) all.checked ? chosen.add(row.id) : chosen.delete(row.id);
      for (const box of list.querySelectorAll("tbody input")) box.checked = all.checked;
      buttons();
    } });
    const body = rows.map((row) => {
      const box = h("input", { type: "checkbox", "aria-label": `Choose ${row.id}`, onchange: () => {
        box.checked ? chosen.add(row.id) : chosen.delete(row.id);
        buttons();
      } });
      box.checked = chosen.has(row.id);
      const line = h("tr", { class: "pick", "data-letter": row.id, onclick: (event) => { if (event.target !== box) open(row.id); } },
        h("td", {}, box),
        h("th", { scope: "row" }, h("button", { type: "button", class: "plain", onclick: (event) => { event.stopPropagation(); open(row.id); } }, row.error || row.id),
          h("span", { class: "why" }, row.reason || (row.key ? `key ${row.key}` : ""))),
        h("td", { class: "dim from" }, row.source), h("td", { class: "n" }, time(row.age)));
      return line;
    });
    list.replaceChildren(h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Messages" }, h("table", { class: "letters" },
      h("thead", {}, h("tr", {}, h("th", {}, all), h("th", { scope: "col" }, "What happened"), h("th", { scope: "col", class: "from" }, "From"), h("th", { scope: "col", class: "n" }, "Age"))),
      h("tbody", {}, body))),
    rows.length >= limit ? h("div", { class: "tools" }, h("button", { type: "button", onclick: () => { limit *= 2; look(); } }, "List more")) : "");
  }

  function buttons() {
    const what = chosen.size ? `${chosen.size} chosen` : where.value ? "all that fit" : "all";
    say(replayButton, `Replay ${what}`);
    say(dropButton, `Drop ${what}`);
    for (const button of [replayButton, dropButton]) {
      button.disabled = !api.changes || !rows.length;
      button.title = api.changes ? "" : "This dashboard only looks: start it with --allow-changes";
    }
    if (!api.changes && rows.length && !said.textContent) tell("Read-only: start the dashboard with --allow-changes to replay or drop.");
  }

  async function open(id) {
    try {
      show(await api.ask(`/api/letter?${query({ id })}`));
    } catch (error) {
      tell(error.message, true);
    }
    for (const line of list.querySelectorAll("tr[data-letter]")) line.setAttribute("aria-selected", line.dataset.letter === id);
  }

  function show(letter) {
    const known = letter.headers;
    const facts = [["Id", letter.id], ["Key", letter.key], ["Error", known["warren-error"]], ["Reason", known["warren-reason"]],
      ["Step", known["warren-stage"]], ["From", known["warren-source"]], ["Attempts", known["warren-attempts"]],
      ["First failed", moment(Number(known["warren-first-failed"]))], ["Last failed", moment(Number(known["warren-last-failed"]))],
      ["Enqueued", moment(letter.timestamp)], ["Content type", letter.content_type],
      ...Object.entries(known).filter(([header]) => !header.startsWith("warren-")).map(([header, value]) => [`header ${header}`, value])];
    const held = letter.body !== undefined ? JSON.stringify(letter.body, null, 2) : letter.text ?? `base64: ${letter.base64}`;
    const one = (what, look, title) => h("button", { type: "button", class: look, disabled: !api.changes, onclick: () => change(what, [letter.id]) }, title);
    pane.replaceChildren(
      h("div", { class: "head" }, h("h2", {}, known["warren-error"] ?? "Message"), h("span", { class: "spring" }),
        known["warren-error"] ? one("replay", "main", "Replay") : "", one("drop", "danger", "Drop"),
        h("button", { type: "button", class: "quiet", onclick: kinds, "aria-label": "Close" }, "Close")),
      h("dl", {}, facts.filter(([, value]) => value).flatMap(([title, value]) => [h("dt", {}, title), h("dd", {}, value)])),
      h("pre", { tabindex: 0, "aria-label": "Body" }, held));
    pane.hidden = false;
    pane.scrollIntoView({ block: "nearest" });
  }

  async function change(what, ids = null) {
    const meant = { place, queue: name, aware, where: ids ? "" : where.value, ids: ids ?? (chosen.size ? [...chosen] : null) };
    try {
      const words = meant.ids ? `${meant.ids.length} message(s)` : where.value ? `all messages that fit ${where.value}` : "all messages";
      const would = what === "replay" ? await api.send("/api/replay", { ...meant, rehearse: true }) : null;
      const text = would ? Object.entries(would.would).map(([source, count]) => `${count} to ${source || "nowhere"}`).join(", ") || "no letter would go"
        : "They cannot be brought back.";
      if (!await confirmed(what === "replay" ? `Replay ${words} of ${name}?` : `Drop ${words} of ${name}?`, text, what)) return;
      const done = await api.send(`/api/${what}`, meant);
      await look();
      const stayed = Object.entries(done.left ?? {}).filter(([why]) => why !== "not chosen").map(([why, count]) => ` ${count} stayed: ${why}.`).join("");
      tell(what === "drop" ? `${done.dropped} dropped.` : `${done.moved} went back.${stayed}${done.repeated ? ` ${done.repeated} may be there twice.` : ""}`);
    } catch (error) {
      tell(error.message, true);
    }
  }

  return { element, enter };
}

function confirmed(question, text, what) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question" }, h("h2", { id: "question" }, question), h("p", {}, text),
      h("div", { class: "row" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "button", class: what === "drop" ? "danger" : "main", onclick: () => dialog.close("yes") }, what === "drop" ? "Drop" : "Replay")));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
