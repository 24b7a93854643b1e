// The frame: who may look, which page is shown, how the connection is.

import { ask, Refused, session, signIn } from "./api.js";
import { decisions } from "./decisions.js";
import { h, say } from "./dom.js";
import { flow } from "./flow.js";
import { letters } from "./letters.js";
import { Live } from "./live.js";
import { queues } from "./queues.js";

const live = new Live();
const main = document.getElementById("main");
const link = document.getElementById("link");
const PAGES = [["flow", "Flow"], ["queues", "Queues"], ["letters", "Dead letters"], ["decisions", "Decisions"]];
const pages = new Map();

function place() {
  const [, page = "flow", ...rest] = location.hash.split("/");
  return { page: PAGES.some(([id]) => id === page) ? page : "flow", rest: rest.map(decodeURIComponent) };
}

function shown() {
  const { page } = place();
  const nav = document.getElementById("pages");
  nav.replaceChildren(...PAGES.map(([id, title]) => h("a", { href: `#/${id}`, "aria-current": id === page ? "page" : null }, title)));
  const current = pages.get(page);
  if (main.firstElementChild !== current.element) main.replaceChildren(current.element);
  current.enter?.(place().rest);
  draw();
}

function draw() {
  say(link, { live: "live", lost: "connection lost", connecting: "connecting" }[live.state]);
  link.className = `link ${live.state === "live" ? "ok" : live.state === "lost" ? "failing" : ""}`;
  const notices = document.getElementById("notices");
  if (notices.dataset.key !== live.notices.join("\n")) {
    notices.dataset.key = live.notices.join("\n");
    notices.replaceChildren(...live.notices.map((text) => h("p", {}, text)));
  }
  pages.get(place().page)?.draw?.();
}

function login(problem = "") {
  const field = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, "aria-describedby": "why" });
  const why = h("p", { id: "why", role: "alert", class: "dim" }, problem || "This dashboard asks for its token.");
  const form = h("form", {
    class: "card login",
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await signIn(field.value.trim());
        await begin();
      } catch (error) {
        say(why, error.message);
        field.select();
      }
    },
  }, h("h1", {}, "Sign in"), h("label", { for: "token" }, "Token"), field, why, h("button", { class: "main" }, "Sign in"));
  main.replaceChildren(form);
  field.focus();
}

async function begin() {
  try {
    await session();
  } catch (error) {
    if (error instanceof Refused) return login();
    say(link, "not reachable");
    setTimeout(begin, 2000);
    return undefined;
  }
  pages.set("flow", flow(live, () => place().rest[0]));
  pages.set("queues", queues(live));
  pages.set("letters", letters(live));
  pages.set("decisions", decisions(live));
  addEventListener("hashchange", shown);
  addEventListener("resize", draw);
  live.watch(draw);
  live.open(async () => {
    try {
      await ask("/api/session");
      setTimeout(() => live.open(() => location.reload()), 1000);
    } catch (error) {
      if (error instanceof Refused) login("The session has ended.");
      else setTimeout(() => location.reload(), 3000);
    }
  });
  shown();
  return undefined;
}

// A link may carry the token behind the #, which no server and no log ever sees.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  signIn(given).then(begin, () => login("The token of this link is not right."));
} else begin();
