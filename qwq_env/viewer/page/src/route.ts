// Where one is in the page, kept behind the #, so that a link leads to the same place.

export interface Filters {
  q: string;
  phase: string;
  step: string;
  task: string;
  environment: string;
  outcome: string;
  reward: string;
  sort: string;
}

export interface Route {
  view: "episodes" | "episode" | "group" | "curves" | "tools";
  name: string; // of the episode or group
  tab: string;
  at: number | null; // a token
  filters: Filters;
}

export const NO_FILTERS: Filters = {
  q: "", phase: "", step: "", task: "", environment: "", outcome: "", reward: "", sort: "",
}; // prettier-ignore

const VIEWS = ["episodes", "episode", "group", "curves", "tools"] as const;

export function readRoute(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", name = ""] = path.split("/", 2);
  const given = new URLSearchParams(query);
  const filters = { ...NO_FILTERS };
  for (const key of Object.keys(filters) as (keyof Filters)[]) filters[key] = given.get(key) ?? "";
  const at = given.get("at");
  return {
    view: VIEWS.find((known) => known === view) ?? "episodes",
    name: decode(name),
    tab: given.get("tab") ?? "",
    at: at !== null && /^\d{1,9}$/.test(at) ? Number(at) : null,
    filters,
  };
}

function decode(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

export function writeRoute(route: Route): string {
  const query = new URLSearchParams();
  if (route.tab !== "") query.set("tab", route.tab);
  if (route.at !== null) query.set("at", String(route.at));
  for (const [key, value] of Object.entries(route.filters)) if (value !== "") query.set(key, value);
  const name = route.name === "" ? "" : `/${encodeURIComponent(wellFormed(route.name))}`;
  const tail = query.toString();
  return `#/${route.view}${name}${tail === "" ? "" : `?${tail}`}`;
}

/** Half a surrogate pair cannot stand in a link. */
function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "�");
}
