// Trials that failed or have reasons against them: listed with why, never ranked.

import { load } from "./data";
import { reasons, scroll, trialLink } from "./detail";
import { el, need, word } from "./dom";
import { count } from "./format";
import type { Model } from "./model";

interface Failure {
  trial: string;
  model: string;
  quantization: string;
  engine: string;
  accelerator: string;
  concurrency: number | null;
  attempt: number;
  outcome: string;
  failure_class: string | null;
  reasons: string[];
  error: string | null;
  started_at: string;
}

export async function drawInvalid(model: Model): Promise<void> {
  const place = need("invalid");
  const list = await load<Failure[]>("failures", "data/failures.js");
  const { words } = model.core;
  const used = [...new Set(list.flatMap((f) => f.reasons))].sort();
  place.replaceChildren(
    el("h2", {}, "Failed and invalid trials"),
    el("p", { class: "meaning" }, `${count(list.length, "trial")} that ended early or have something against them. None of them is in any figure or rank.`),
    list.length
      ? scroll(
          "Failed and invalid trials",
          ["trial", "model", "precision", "engine", "accelerator", "load", "outcome", "why", "error"],
          list.map((f) => [
            trialLink(f.trial),
            f.model,
            f.quantization,
            f.engine,
            f.accelerator,
            f.concurrency === null ? "open loop" : `${f.concurrency} in flight`,
            f.outcome,
            el("span", {}, f.failure_class ? word(f.failure_class, words["failures"]?.[f.failure_class], "reason") : null, ...reasons(f.reasons, words)),
            f.error ?? "",
          ]),
        )
      : el("p", { class: "empty" }, "All trials are valid."),
    used.length ? el("h3", {}, "What the reasons mean") : "",
    el("dl", { class: "meanings" }, ...used.flatMap((reason) => [el("dt", {}, reason), el("dd", {}, words["reasons"]?.[reason] ?? "")])),
  );
}
