// Shows on the pages of Notebook 7 and JupyterLab what slurm-nb has to say of the session.
// What a build would make of an extension is an object with `init` and `get` (webpack's module
// federation); this is one. Texts are set as text, never as HTML.
(() => {
  'use strict';
  const NAME = 'slurm-nb';
  const EVERY_MS = 15000;
  const TIMEOUT_MS = 10000;
  const NOTIFY = 'apputils:notify';
  const NOTIFIED_CHARS = 140; // more is cut off there

  const seen = new Set();

  const corner = document.createElement('div');
  corner.style.cssText =
    'position: fixed; right: 16px; bottom: 16px; z-index: 20000; max-width: 30em;';

  function banner(text) {
    const box = document.createElement('div');
    const close = document.createElement('button');
    box.className = 'slurm-nb-notice';
    box.setAttribute('role', 'alert');
    box.style.cssText =
      'margin-top: 8px; padding: 12px; border-left: 4px solid #ef6c00; background: #fff8e1;' +
      'color: #212121; font: 14px sans-serif; box-shadow: 0 2px 8px rgba(0, 0, 0, 0.4);';
    box.textContent = text + ' ';
    close.textContent = 'Dismiss';
    close.onclick = () => box.remove();
    box.append(close);
    corner.append(box);
    document.body.append(corner);
  }

  function show(app, text) {
    if (text.length > NOTIFIED_CHARS || !app.commands.hasCommand(NOTIFY)) {
      banner(text);
      return;
    }
    const options = { autoClose: false };
    app.commands.execute(NOTIFY, { message: text, type: 'warning', options }).catch(() => {
      banner(text);
    });
  }

  async function look(app) {
    const { baseUrl, token } = app.serviceManager.serverSettings;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(baseUrl + 'slurm-nb/notices', {
        headers: token ? { Authorization: 'token ' + token } : {},
        signal: stop.signal
      });
      const { notices } = answer.ok ? await answer.json() : { notices: [] };
      for (const { id, text } of notices) {
        if (!seen.has(id)) {
          seen.add(id);
          show(app, NAME + ': ' + text);
        }
      }
    } catch (error) {
      // The tunnel is down, or the session over: Jupyter's own page says so.
    } finally {
      clearTimeout(timer);
      setTimeout(look, EVERY_MS, app);
    }
  }

  const plugin = {
    id: NAME + ':notices',
    autoStart: true,
    activate: app => {
      app.restored.then(() => look(app));
    }
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: async () => undefined,
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
