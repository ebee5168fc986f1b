// Dark and light: as the system says, or as the visitor chose before.

const KEY = "joulemark-theme";

function remembered(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser may refuse to remember anything
  }
}

export function dark(): boolean {
  const chosen = document.documentElement.dataset["theme"];
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function theme(changed: () => void): void {
  const before = remembered();
  if (before === "dark" || before === "light") document.documentElement.dataset["theme"] = before;
  const button = document.getElementById("theme");
  const label = () => {
    if (button) button.textContent = dark() ? "light" : "dark";
  };
  label();
  button?.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset["theme"] = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // then it lasts as long as the page
    }
    label();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    label();
    changed();
  });
}

/** Mark the link to this very page. */
export function here(): void {
  for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
}
