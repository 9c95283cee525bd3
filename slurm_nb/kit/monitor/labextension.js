// Shows on the pages of Notebook 7 and JupyterLab what slurm-nb has to say of the session.
// What a build would make of an extension is an object with `init` and `get` (webpack's module
// federation); this is one. Texts are set as text, never as HTML.
(() => {
  'use strict';
  const NAME = 'slurm-nb';
  const EVERY_MS = 15000;
  const TIMEOUT_MS = 10000;
  const NOTIFY = 'apputils:notify'; // cuts a text off at 140 characters

  const seen = new Set();

  function show(app, text) {
    const options = { autoClose: false };
    app.commands.execute(NOTIFY, { message: text, type: 'warning', options }).catch(() => {
      // JupyterLab 3 has no notifications: the job's output says it.
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
