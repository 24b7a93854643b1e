// What models and remedies decided, by controller, the newest first.

import { clock, h, percent, pill, rate, table, time } from "./dom.js";

const named = (stage) => stage.replace(/^(\d+\.[^/]*\/)*\d+:/, "");

export function decisions(live) {
  const content = h("div", { class: "stack" });
  const element = h("div", { class: "stack", "data-page": "decisions" }, content);
  let shown = "";

  function draw() {
    const pipes = [...live.pipelines.values()].filter((pipe) => pipe.decisions?.length);
    const key = JSON.stringify(pipes.map((pipe) => [pipe.name, pipe.decisions.length, pipe.decisions[0].number, pipe.decisions[0].at]));
    if (key === shown) return;
    shown = key;
    content.replaceChildren(...(pipes.length ? pipes.map(card) : [h("div", { class: "card empty" },
      h("h2", {}, "No controller has decided anything"),
      h("p", {}, "Routes and retries that learn, and remedies, show here what they chose, why, and what came of it."))]));
  }

  return { element, draw, enter: () => { shown = ""; draw(); } };
}

function card(pipe) {
  const controllers = new Map();
  for (const each of pipe.decisions) {
    const key = `${each.policy} ${each.stage}`;
    if (!controllers.has(key)) controllers.set(key, []);
    controllers.get(key).push(each);
  }
  return h("section", { class: "card", "aria-label": `Decisions in ${pipe.name}` },
    h("div", { class: "head" }, h("h1", {}, pipe.name)),
    h("ul", { class: "controllers" }, [...controllers.values()].map(summary)),
    table(["At", "Controller", "Step", "Chose", "In place of", "Done", "Why", "Outcome", "Took"], pipe.decisions.map((each) => [
      clock(each.at), each.policy, named(each.stage), each.choice, each.static, each.done, h("span", { class: "wrap", title: inputs(each) }, each.reason),
      each.success === true ? pill("ok", "well") : each.success === false ? pill("failing", "badly") : h("span", { class: "dim" }, "open"), time(each.seconds),
    ]), { caption: "Decisions", numeric: [8] }));
}

const inputs = (each) => Object.entries(each.inputs ?? {}).map(([name, value]) => `${name}: ${value}`).join("\n");

function summary(found) {
  const [newest] = found;
  const known = found.filter((each) => each.success !== null && each.success !== undefined);
  const well = known.filter((each) => each.success).length;
  const span = found[0].at - found.at(-1).at;
  return h("li", {}, h("strong", {}, newest.policy), newest.stage && h("span", { class: "dim" }, named(newest.stage)),
    newest.mode === "act" ? pill("ok", "acts") : pill("silent", "shadow"),
    h("span", { class: "dim" }, known.length ? `${percent(well / known.length)} of ${known.length} went well` : "outcome not known yet",
      span > 1 ? `, ${rate((found.length - 1) / span)}` : ""),
    h("span", {}, `last: ${newest.done}`));
}
