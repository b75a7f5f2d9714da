/// The page around the data. Every text that comes from outside is set as text, never as markup.
enum AttentionPageTemplate {
  static let beforeData = #"""
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Attention</title>
    <style>
    :root {
      color-scheme: light dark;
      --page: #fbfbfa; --card: #ffffff; --ink: #1d1d1f; --quiet: #6b6b70; --line: #dedee2;
      --heat: 38, 130, 142; --mark: #c2410c;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #161618; --card: #1f1f22; --ink: #ececee; --quiet: #a0a0a8; --line: #38383d;
        --heat: 20, 125, 112; --mark: #fb923c;
      }
    }
    * { box-sizing: border-box; }
    body { margin: 0 auto; max-width: 1400px; padding: 1.5rem; background: var(--page); color: var(--ink);
      font: 16px/1.5 system-ui, sans-serif; }
    h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere; }
    h2 { font-size: 1rem; margin: 0 0 .5rem; }
    p { margin: .25rem 0 1rem; color: var(--quiet); max-width: 75ch; }
    main { display: grid; grid-template-columns: minmax(14rem, 2fr) 3fr; gap: 1rem; align-items: start; }
    @media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
    section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
      min-width: 0; margin-bottom: 1rem; }
    button { font: inherit; color: inherit; background: none; border: 1px solid transparent; border-radius: 5px;
      padding: 0; cursor: pointer; }
    :focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
    #heads { display: grid; gap: 4px; overflow-x: auto; align-items: center; font-size: .75rem;
      color: var(--quiet); padding: 3px; }
    #heads button { padding: 2px; min-width: 2rem; line-height: 0; }
    #heads button[aria-pressed=true] { border-color: var(--mark); background: var(--mark); }
    #heads canvas { width: 100%; image-rendering: pixelated; }
    #heads span { text-align: center; }
    #heads .layer { text-align: right; white-space: nowrap; padding-right: .4em; }
    .tokens { display: flex; flex-wrap: wrap; gap: 2px; max-height: 16rem; overflow-y: auto; padding: 3px; }
    .tokens button { padding: 1px 4px; border-color: var(--line); white-space: pre;
      font-family: ui-monospace, monospace; font-size: .9rem; min-width: 1.2em; }
    .tokens button[aria-pressed=true] { border-color: var(--mark); box-shadow: inset 0 0 0 1px var(--mark); }
    .row { color: var(--quiet); font-size: .85rem; margin-top: .5rem; }
    fieldset { border: 0; padding: 0; margin: .75rem 0 0; font-size: .9rem; }
    label { margin-right: 1rem; }
    #says { min-height: 3em; margin: .75rem 0 0; color: var(--ink); }
    #map { max-width: 100%; display: block; cursor: crosshair; }
    #picture { position: relative; width: min(100%, 420px); }
    #picture img { width: 100%; display: block; image-rendering: pixelated; border-radius: 4px; }
    #patches { position: absolute; inset: 0; display: grid; }
    #patches button { border: 0; border-radius: 0; }
    #patches button[aria-pressed=true] { box-shadow: inset 0 0 0 2px var(--mark); }
    .scroll { overflow: auto; }
    [hidden] { display: none !important; }
    </style>
    </head>
    <body>
    <h1 id="title"></h1>
    <p>Each token asks every other how much it matters; the answers of one row add up to 100 %. Choose a head, then point
    at a token. Arrow keys move, and Enter keeps a token chosen.</p>
    <noscript>This page draws its maps with JavaScript.</noscript>
    <main>
    <div>
    <section><h2>Layers and heads</h2><div id="heads"></div></section>
    </div>
    <div>
    <section>
    <h2 id="chosen"></h2>
    <div id="picture" hidden><img alt="What the model saw"><div id="patches"></div></div>
    <div id="texts"></div>
    <fieldset><legend class="row">Shade what the token</legend>
    <label><input type="radio" name="direction" value="to" checked> attends to</label>
    <label><input type="radio" name="direction" value="from"> is attended to by</label>
    </fieldset>
    <p id="says" aria-live="polite"></p>
    </section>
    <section><h2>The map</h2>
    <p>A row is the token that attends, a column the token attended to; the brightest colour is the
    largest share of the head.</p>
    <div class="scroll"><canvas id="map"></canvas></div></section>
    </div>
    </main>
    <script type="application/json" id="data">
    """#

  static let afterData = #"""
    </script>
    <script>
    "use strict";
    const data = JSON.parse(document.getElementById("data").textContent);
    const element = id => document.getElementById(id);
    function make(tag, parent, text) {
      const made = parent.appendChild(document.createElement(tag));
      if (text !== undefined) made.textContent = text;
      return made;
    }
    // White space as something to see.
    const shown = text => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·");
    const percent = p => (100 * p).toFixed(p < 0.0995 ? 1 : 0) + " %";

    for (const layer of data.layers) {
      layer.levels = Uint8Array.from(atob(layer.levels), c => c.charCodeAt(0));
      layer.rows = data.tokens[layer.queries].length;
      layer.columns = data.tokens[layer.keys].length;
    }
    // A level is the root of the probability's share of the head's largest.
    function probability(layer, head, row, column) {
      const level = layer.levels[(head * layer.rows + row) * layer.columns + column];
      return layer.largest[head] * (level / 255) ** 2;
    }

    // What is looked at: a head, and a token of the queries ("to") or of the keys ("from").
    const view = { layer: 0, head: 0, direction: "to", token: 0, kept: 0 };
    const layer = () => data.layers[view.layer];
    const isTo = () => view.direction === "to";
    const attention = other => isTo()
      ? probability(layer(), view.head, view.token, other) : probability(layer(), view.head, other, view.token);

    // Arrow keys walk through a list of buttons, of which only one is a tab stop.
    function walk(list, width) {
      const buttons = [...list];
      buttons.forEach((button, i) => {
        button.tabIndex = i ? -1 : 0;
        button.addEventListener("keydown", event => {
          const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width(), ArrowDown: width() }[event.key];
          if (step === undefined || !buttons[i + step]) return;
          event.preventDefault();
          button.tabIndex = -1;
          buttons[i + step].tabIndex = 0;
          buttons[i + step].focus();
        });
      });
    }

    function drawHead(canvas, layer, head) {
      canvas.width = layer.columns;
      canvas.height = layer.rows;
      const context = canvas.getContext("2d"), image = context.createImageData(layer.columns, layer.rows);
      const start = head * layer.rows * layer.columns;
      for (let i = 0; i < layer.rows * layer.columns; i++)
        image.data.set([...data.colours[layer.levels[start + i]], 255], 4 * i);
      context.putImageData(image, 0, 0);
      return canvas;
    }

    function makeHeads() {
      const grid = element("heads"), count = Math.max(...data.layers.map(l => l.heads.length));
      grid.style.gridTemplateColumns = `max-content repeat(${count}, minmax(2rem, 6rem))`;
      make("span", grid);
      for (let i = 0; i < count; i++) make("span", grid, data.layers[0].heads[i] ?? i);
      data.layers.forEach((layer, l) => {
        make("span", grid, layer.name).className = "layer";
        for (let h = 0; h < count; h++) {
          if (h >= layer.heads.length) { make("span", grid); continue; }
          const button = make("button", grid);
          button.setAttribute("aria-label", `${layer.name}, head ${layer.heads[h]}`);
          button.title = button.getAttribute("aria-label");
          button.dataset.place = `${l} ${h}`;
          drawHead(make("canvas", button), layer, h);
          button.addEventListener("click", () => choose(l, h));
        }
      });
      walk(grid.querySelectorAll("button"), () => count);
    }

    // Buttons of one row of tokens; pointing looks, clicking keeps.
    function makeTokens(parent, name, label) {
      data.tokens[name].forEach((text, i) => {
        const button = make("button", parent, label ? label(text) : undefined);
        button.dataset.token = i;
        button.setAttribute("aria-label", text);
        const look = keep => {
          if (parent.dataset.side !== "both" && parent.dataset.side !== view.direction) return;
          view.token = i;
          if (keep) view.kept = i;
          shade();
        };
        button.addEventListener("mouseenter", () => look(false));
        button.addEventListener("focus", () => look(false));
        button.addEventListener("click", () => look(true));
      });
      parent.addEventListener("mouseleave", () => { view.token = view.kept; shade(); });
      const buttons = parent.querySelectorAll("button");
      walk(buttons, () => data.picture ? data.picture.columns : 10);
      return buttons;
    }

    // For a picture the patches, and a button for the class; for text the tokens, twice where queries are not keys.
    let rows = [];
    function makeRows() {
      const texts = element("texts");
      texts.replaceChildren();
      rows = [];
      const { queries, keys } = layer();
      if (data.picture) {
        const place = element("patches"), names = data.tokens[queries];
        element("picture").hidden = false;
        element("picture").querySelector("img").src = data.picture.source;
        place.replaceChildren();
        place.style.gridTemplateColumns = `repeat(${data.picture.columns}, 1fr)`;
        place.dataset.side = texts.dataset.side = "both";
        const buttons = [...makeTokens(place, queries)];
        texts.className = "tokens";
        const first = texts.appendChild(buttons[0]);
        first.textContent = names[0];
        first.tabIndex = buttons[1] ? (buttons[1].tabIndex = 0) : 0;
        rows.push({ buttons, side: "both" });
        return;
      }
      for (const [side, name] of queries === keys ? [["both", queries]] : [["to", queries], ["from", keys]]) {
        if (side !== "both") make("div", texts, name).className = "row";
        const parent = make("div", texts);
        parent.className = "tokens";
        parent.dataset.side = side;
        rows.push({ buttons: [...makeTokens(parent, name, shown)], side });
      }
    }

    // In a decoder the first token sees only itself, and the last sees all.
    const firstToken = () => isTo() && probability(layer(), 0, 0, 0) > 0.99 ? layer().rows - 1 : 0;

    function choose(l, h) {
      const changed = rows.length === 0 || layer().queries !== data.layers[l].queries
        || layer().keys !== data.layers[l].keys;
      [view.layer, view.head] = [l, h];
      if (changed) {
        view.token = view.kept = firstToken();
        makeRows();
      }
      element("chosen").textContent = `${layer().name}, head ${layer().heads[h]}`;
      for (const button of element("heads").querySelectorAll("button"))
        button.setAttribute("aria-pressed", button.dataset.place === `${l} ${h}`);
      shade();
    }

    function shade() {
      const other = isTo() ? layer().keys : layer().queries, own = isTo() ? layer().queries : layer().keys;
      const names = data.tokens[other], shares = names.map((_, i) => attention(i));
      const largest = Math.max(...shares, 1e-9);
      for (const { buttons, side } of rows) {
        const isOther = side === "both" || side !== view.direction;
        const isOwn = side === "both" || side === view.direction;
        buttons.forEach((button, i) => {
          // Tokens are shaded; of a picture, what is not attended to is darkened.
          const share = isOther ? shares[i] / largest : 0;
          button.style.background = !isOther ? "" : data.picture && i > 0
            ? `rgba(0, 0, 0, ${(0.85 * (1 - share)).toFixed(3)})`
            : `rgba(var(--heat), ${(0.85 * Math.sqrt(share)).toFixed(3)})`;
          button.title = isOther ? percent(shares[i]) : "";
          button.setAttribute("aria-pressed", isOwn && i === view.token);
        });
      }
      const best = names.map((text, i) => [shares[i], text]).sort((a, b) => b[0] - a[0]).slice(0, 4);
      element("says").textContent = `“${shown(data.tokens[own][view.token])}” `
        + (isTo() ? "attends to " : "is attended to by ")
        + best.map(([p, text]) => `“${shown(text)}” ${percent(p)}`).join(", ");
      drawMap();
    }

    // The map, as large as fits, with the tokens at its edges where there is room for them.
    let cell = 1, edge = 0;
    function drawMap() {
      const { rows: t, columns: s, queries, keys } = layer(), canvas = element("map");
      const ratio = window.devicePixelRatio || 1, width = canvas.parentElement.clientWidth || 600;
      const hasLabels = Math.max(t, s) <= 80;
      const short = text => shown(text).length > 10 ? shown(text).slice(0, 9) + "…" : shown(text);
      const longest = Math.max(...[...data.tokens[queries], ...data.tokens[keys]].map(text => short(text).length));
      edge = hasLabels ? 12 + 8 * longest : 0;
      cell = Math.max(hasLabels ? 11 : 2, Math.min(36, Math.floor((width - edge) / s)));
      const [w, h] = [edge + cell * s, edge + cell * t];
      [canvas.width, canvas.height] = [w * ratio, h * ratio];
      [canvas.style.width, canvas.style.height] = [w + "px", h + "px"];
      canvas.style.maxWidth = "none";
      const context = canvas.getContext("2d"), style = getComputedStyle(document.body);
      context.scale(ratio, ratio);
      context.imageSmoothingEnabled = false;
      context.drawImage(drawHead(document.createElement("canvas"), layer(), view.head), edge, edge, cell * s, cell * t);
      context.strokeStyle = style.getPropertyValue("--mark");
      context.lineWidth = 2;
      if (isTo()) context.strokeRect(edge, edge + cell * view.token, cell * s, cell);
      else context.strokeRect(edge + cell * view.token, edge, cell, cell * t);
      if (!hasLabels) return;
      context.fillStyle = style.color;
      context.font = `${Math.min(13, cell)}px ui-monospace, monospace`;
      context.textBaseline = "middle";
      context.textAlign = "right";
      data.tokens[queries].forEach((text, i) => context.fillText(short(text), edge - 5, edge + cell * (i + 0.5)));
      context.textAlign = "left";
      data.tokens[keys].forEach((text, i) => {
        context.save();
        context.translate(edge + cell * (i + 0.5), edge - 5);
        context.rotate(-Math.PI / 2);
        context.fillText(short(text), 0, 0);
        context.restore();
      });
    }

    // The cell under the pointer, if it is in the map.
    function cellAt(event) {
      const row = Math.floor((event.offsetY - edge) / cell), column = Math.floor((event.offsetX - edge) / cell);
      const inside = row >= 0 && column >= 0 && row < layer().rows && column < layer().columns;
      return inside ? { row, column } : null;
    }
    element("map").addEventListener("mousemove", event => {
      const found = cellAt(event);
      if (!found) { event.target.title = ""; return; }
      const { row, column } = found;
      const p = percent(probability(layer(), view.head, row, column));
      event.target.title = `${shown(data.tokens[layer().queries][row])} → ${shown(data.tokens[layer().keys][column])}: ${p}`;
      const token = isTo() ? row : column;
      if (token !== view.token) { view.token = token; shade(); }
    });
    element("map").addEventListener("click", event => { if (cellAt(event)) view.kept = view.token; });
    element("map").addEventListener("mouseleave", () => { view.token = view.kept; shade(); });
    for (const radio of document.getElementsByName("direction"))
      radio.addEventListener("change", () => {
        view.direction = radio.value;
        view.token = view.kept = firstToken();
        shade();
      });
    window.addEventListener("resize", drawMap);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", shade);

    document.title = "Attention: " + data.title;
    element("title").textContent = data.title;
    makeHeads();
    choose(0, 0);
    </script>
    </body>
    </html>

    """#
}
