// Pages that are only read: the theme is all that moves.

import { here, theme } from "./theme";

document.addEventListener("DOMContentLoaded", () => {
  theme(() => undefined);
  here();
});
