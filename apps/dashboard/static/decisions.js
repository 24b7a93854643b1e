// What models and remedies decide: for each controller how much of what, how it went, and the newest decisions with why.

import { clock, h, number, percent, pill, table, time } from "./dom.js";

const named = (stage) => stage.replace(/^(\d+\.[^/]*\/)*\d+:/, "");

export function decisions(live) {
  const element = h("div", { class: "stack", "data-page": "decisions" });
  let shown = "";

  function draw() {
    const found = [...live.pipelines.values()].flatMap((pipe) => (pipe.controllers ?? []).map((each) => [pipe, each]));
    const key = JSON.stringify(found.map(([pipe, each]) => [pipe.name, each.policy, each.stage, each.count, each.known]));
    if (key === shown) return;
    shown = key;
    element.replaceChildren(...(found.length ? found.map(card) : [h("div", { class: "card empty" },
      h("h2", {}, "No controller has decided anything"),
      h("p", {}, "Routes and retries that learn, and remedies, show here what they chose, why, and what came of it."))]));
  }

  return { element, draw, enter: () => { shown = ""; draw(); } };
}

function card([pipe, each]) {
  const rows = each.newest.slice(0, 10).map((one) => [clock(one.at), one.choice, one.static, one.done,
    h("span", { class: "wrap", title: inputs(one) }, one.reason), outcome(one.success), time(one.seconds)]);
  return h("section", { class: "card", "aria-label": `${each.policy} in ${pipe.name}` },
    h("div", { class: "head" }, h("h2", {}, each.policy),
      h("span", { class: "dim" }, [pipe.name, named(each.stage)].filter(Boolean).join(" / ")),
      each.mode === "act" ? h("span", { class: "pill acts" }, "acts") : pill("silent", "shadow"),
      h("span", { class: "spring" }),
      h("span", {}, `${number(each.count)} decision${each.count === 1 ? "" : "s"}`),
      h("span", { class: "dim" }, each.known ? `${percent(each.well / each.known)} went well` : "outcome not known yet")),
    h("ul", { class: "choices" }, each.choices.slice(0, 6).map(([choice, count]) => share(choice, count / each.count))),
    table(["At", "Chose", "In place of", "Done", "Why", "Outcome", "Took"], rows, { caption: `Decisions of ${each.policy}`, numeric: [6] }));
}

function share(choice, part) {
  const bar = h("i", {});
  bar.style.width = `${Math.round(100 * part)}%`;
  return h("li", {}, h("span", { class: "wrap" }, choice), h("span", { class: "meter" }, bar), h("span", { class: "n" }, percent(part)));
}

const outcome = (success) => (success === true ? pill("ok", "well") : success === false ? pill("failing", "badly") : h("span", { class: "dim" }, "open"));
const inputs = (one) => Object.entries(one.inputs ?? {}).map(([name, value]) => `${name}: ${value}`).join("\n");
