// The API for people: draws /openapi.json. Nothing is loaded from elsewhere.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 4; // Of nested objects that are spelt out.

/** An element with properties and children; strings become text, never HTML. */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.flat().filter((child) => child !== null && child !== ""));
  return element;
}

/** Text in which `backticks` become code. */
function prose(text) {
  return text.split("`").map((part, nth) => (nth % 2 ? make("code", {}, part) : part));
}

const api = await (await fetch("/openapi.json")).json();

function resolve(schema) {
  return schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema ?? {};
}

/** A schema in few words: `string · 1–100`, `list of Message`, `human | agent`. */
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const ways = schema.anyOf ?? schema.oneOf;
  if (ways?.some((way) => way.type || way.$ref)) return ways.map(kind).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items ?? {})}`;
  if (schema.type === "object" && schema.additionalProperties?.type) return `map of ${kind(schema.additionalProperties)}`;
  const least = schema.minimum ?? schema.minLength;
  const most = schema.maximum ?? schema.maxLength;
  const limits = least !== undefined || most < 2 ** 53 ? ` · ${least ?? 0}–${most < 2 ** 53 ? most : ""}` : "";
  return (schema.type ?? "any") + limits;
}

/** The object that is spelt out below a field, if there is one. */
function inner(schema) {
  const ways = (schema.anyOf ?? [schema]).map((way) => (way.type === "array" ? way.items ?? {} : way));
  return ways.map(resolve).find((way) => way.properties);
}

function fields(schema, depth = 0) {
  const shape = resolve(schema);
  const rows = Object.entries(shape.properties ?? {}).map(([name, part]) => {
    const below = depth < DEPTH_MAX && inner(part);
    return make("tr", {},
      make("td", {}, make("code", {}, name), shape.required?.includes(name) && depth === 0 ? make("span", { className: "must" }, " required") : ""),
      make("td", {}, make("span", { className: "type" }, kind(part)),
        part.description ? make("div", {}, ...prose(part.description)) : "",
        below && below !== shape ? make("details", {}, make("summary", {}, "fields"), fields(below, depth + 1)) : ""),
    );
  });
  return make("table", { className: "fields" }, rows);
}

function parameters(operation) {
  if (!operation.parameters.length) return "";
  const rows = operation.parameters.map((one) => make("tr", {},
    make("td", {}, make("code", {}, one.name), one.required ? make("span", { className: "must" }, " required") : ""),
    make("td", {}, make("span", { className: "type" }, `${one.in} · ${kind(one.schema)}`),
      one.description ? make("div", {}, ...prose(one.description)) : ""),
  ));
  return [make("h3", {}, "Parameters"), make("table", {}, rows)];
}

function answer([status, response]) {
  const [media, content] = Object.entries(response.content ?? {})[0] ?? ["", {}];
  const heading = make("h3", {}, "Answer ", make("span", { className: "status" }, status), media ? ` ${media}` : "");
  return [heading, media === "application/json" ? fields(content.schema) : ""];
}

function refusals(responses) {
  const codes = responses.flatMap(([, response]) => [...response.description.matchAll(/`(\w+)`/g)].map((found) => found[1]));
  const links = codes.map((code) => make("a", { href: `/problems/${code}` }, code));
  return [make("h3", {}, "Refusals"), make("div", { className: "refusals" }, links)];
}

function body(operation) {
  if (!operation.requestBody) return "";
  return [make("h3", {}, "Body"), fields(operation.requestBody.content["application/json"].schema)];
}

function route(method, path, operation) {
  const [success, ...others] = Object.entries(operation.responses);
  const details = make("details", { className: "route", id: operation.operationId },
    make("summary", {},
      make("span", { className: `verb ${method}` }, method.toUpperCase()),
      make("code", {}, path),
      make("span", { className: "what" }, operation.summary)),
    make("div", {}, make("p", {}, ...prose(operation.description)),
      parameters(operation), body(operation), answer(success), refusals(others)),
  );
  details.dataset.text = `${method} ${path} ${operation.summary}`.toLowerCase();
  return details;
}

const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
  METHODS.filter((method) => methods[method]).map((method) => ({ method, path, operation: methods[method] })));

document.getElementById("about").replaceChildren(...prose(api.info.description));
for (const { name } of api.tags) {
  const mine = routes.filter(({ operation }) => operation.tags.includes(name));
  const links = mine.map(({ operation }) => make("li", {}, make("a", { href: `#${operation.operationId}` }, operation.summary)));
  document.getElementById("list").append(make("section", {}, make("h2", {}, name), make("ul", {}, links)));
  document.getElementById("routes").append(make("section", {}, make("h2", { className: "tag" }, name),
    mine.map(({ method, path, operation }) => route(method, path, operation))));
}

document.getElementById("filter").addEventListener("input", ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const one of document.querySelectorAll(".route")) one.hidden = !one.dataset.text.includes(wanted);
  for (const one of document.querySelectorAll("#routes section")) one.hidden = !one.querySelector(".route:not([hidden])");
});

function show() {
  const chosen = location.hash && document.getElementById(location.hash.slice(1));
  if (chosen) {
    chosen.open = true;
    chosen.scrollIntoView();
  }
}
addEventListener("hashchange", show);
show();
