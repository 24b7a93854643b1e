// Runs before anything is drawn, so that a chosen theme does not flash.
(() => {
  const order = ["auto", "light", "dark"];
  const key = "warren-theme";
  const stored = () => { try { return localStorage.getItem(key); } catch { return null; } };
  let now = order.includes(stored()) ? stored() : "auto";
  const apply = () => {
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[now];
      button.setAttribute("aria-label", `Colours: ${now}. Change`);
    }
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      now = order[(order.indexOf(now) + 1) % order.length];
      try { localStorage.setItem(key, now); } catch { /* it holds for this page then */ }
      apply();
    });
  });
})();
