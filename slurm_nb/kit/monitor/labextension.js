// Shows the session on the pages of Notebook 7 and JupyterLab: an item in the bar, slurm-nb's
// notices, and a banner when the session ends or the connection is lost.
// Webpack's module federation loads an extension as an object with `init` and `get`; this file
// defines one by hand, so there is nothing to build. All text is set as text, never as HTML.
(() => {
  'use strict';
  const NAME = 'slurm-nb';
  const EVERY_MS = 30000;
  const HIDDEN_MS = 120000;
  const RETRY_MS = 5000;
  const TIMEOUT_MS = 10000;
  const MISSES = 2; // failed polls in a row before the page says that the connection is lost
  const OLD_S = 600; // a page that has just been opened skips older notices
  const NOTIFY = 'apputils:notify'; // cuts a text off at 140 characters
  const DISMISS = 'apputils:dismiss-notification';
  const BESIDE_THE_MENU = 10001; // Notebook 7 puts ranks above 10000 at the right end of the bar

  const STYLE = `
    .slurm-nb-item { border: 0; background: none; cursor: pointer; padding: 0 8px; margin: 0;
      margin-left: auto; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
      font: 12px var(--jp-ui-font-family, sans-serif); color: var(--jp-ui-font-color1, #333);
      min-height: 24px; align-self: center; flex: 0 1 auto; }
    .slurm-nb-item:hover { background: var(--jp-layout-color2, #eee); }
    .slurm-nb-item.slurm-nb-bad { color: var(--jp-error-color1, #c00); font-weight: 600; }
    .slurm-nb-banner { position: fixed; z-index: 100000; top: 34px; left: 50%;
      transform: translateX(-50%); width: max-content; max-width: min(760px, 90vw); box-sizing: border-box; padding: 10px 40px 10px 14px; }
    .slurm-nb-banner, .slurm-nb-dialog { font: 13px/1.5 var(--jp-ui-font-family, sans-serif);
      color: var(--jp-ui-font-color1, #222); background: var(--jp-layout-color1, #fff);
      border: 1px solid var(--jp-border-color1, #bbb); box-shadow: 0 2px 12px rgba(0, 0, 0, .3);
      border-radius: 3px; }
    .slurm-nb-banner { border-left: 4px solid var(--jp-warn-color1, #e65100); }
    .slurm-nb-banner p { margin: 2px 0; }
    .slurm-nb-banner code, .slurm-nb-dialog code { font-family: var(--jp-code-font-family, monospace);
      background: var(--jp-layout-color2, #eee); padding: 1px 4px; user-select: all; white-space: nowrap; }
    .slurm-nb-close { position: absolute; top: 6px; right: 8px; border: 0; background: none;
      font-size: 16px; cursor: pointer; color: inherit; }
    .slurm-nb-dialog { padding: 14px 18px; min-width: 320px; max-width: 560px; }
    .slurm-nb-dialog::backdrop { background: rgba(0, 0, 0, .25); }
    .slurm-nb-dialog h2 { font-size: 15px; margin: 0 0 8px; }
    .slurm-nb-dialog dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 14px;
      margin: 0 0 10px; }
    .slurm-nb-dialog dt { color: var(--jp-ui-font-color2, #666); }
    .slurm-nb-dialog dd { margin: 0; }
    .slurm-nb-dialog p { margin: 8px 0; }
    .slurm-nb-buttons { display: flex; gap: 8px; justify-content: flex-end; margin-top: 12px; }
    .slurm-nb-buttons button { font: inherit; padding: 4px 10px; cursor: pointer;
      color: inherit; background: var(--jp-layout-color2, #eee);
      border: 1px solid var(--jp-border-color1, #bbb); border-radius: 2px; }
    .slurm-nb-buttons button.slurm-nb-end { color: #fff; background: var(--jp-error-color1, #c00);
      border-color: transparent; }
  `;

  // --- texts ---

  function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const hours = Math.floor(whole / 3600);
    if (whole < 60) return `${whole} s`;
    if (hours < 2) return `${Math.floor(whole / 60)} min`;
    if (hours < 24) return `${hours} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
    return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  }

  function gibibytes(bytes) {
    const mebibytes = bytes / 2 ** 20;
    return mebibytes < 1024 ? `${Math.round(mebibytes)} MiB`
      : `${(mebibytes / 1024).toFixed(1).replace('.0', '')} GiB`;
  }

  function clock(ms) {
    const at = new Date(ms);
    const today = at.toDateString() === new Date().toDateString();
    const time = { hour: '2-digit', minute: '2-digit' };
    return today ? at.toLocaleTimeString([], time)
      : at.toLocaleString([], { month: 'short', day: 'numeric', ...time });
  }

  // Returns an element. Each child is an element or a text.
  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    element.className = className;
    element.append(...children);
    return element;
  }

  const code = text => make('code', '', text);

  function button(text, act, className = '') {
    const element = make('button', className, text);
    element.type = 'button';
    element.addEventListener('click', act);
    return element;
  }

  // --- the server ---

  class Server {
    constructor(settings) {
      this.settings = settings;
    }

    async ask(path, init = {}, timeoutMs = TIMEOUT_MS) {
      const { baseUrl, token } = this.settings;
      const headers = {};
      const xsrf = document.cookie.match(/(?:^|;\s*)_xsrf=([^;]*)/);
      if (token) headers.Authorization = 'token ' + token;
      if (xsrf) headers['X-XSRFToken'] = xsrf[1];
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), timeoutMs);
      try {
        const options = { cache: 'no-store', headers, signal: stop.signal, ...init };
        return await fetch(baseUrl + path, options);
      } finally {
        clearTimeout(timer);
      }
    }

    // Calls `ended` with the reason when the session ends, and `closed` when the connection does.
    listen(ended, closed) {
      const url = this.settings.baseUrl.replace(/^http/, 'ws') + NAME + '/session/end';
      const socket = new WebSocket(url); // the cookie says who we are, as it does for kernels
      socket.onmessage = message => ended(JSON.parse(message.data).ended);
      socket.onclose = closed;
      return socket;
    }
  }

  // --- the page ---

  class Page {
    constructor(app, Widget) {
      this.app = app;
      this.server = new Server(app.serviceManager.serverSettings);
      this.session = null; // the server's last answer
      this.state = 'new'; // new, connected, lost, ended
      this.why = ''; // the session ended
      this.endsAt = null; // ms, on this computer's clock
      this.misses = 0;
      this.shown = new Map(); // notice id: the notification's id
      this.socket = null;
      this.timer = 0;
      this.looking = false;
      this.banner = null;
      document.head.append(make('style', '', STYLE));
      this.addItem(Widget);
      const now = () => this.look();
      document.addEventListener('visibilitychange', () => document.hidden || now());
      window.addEventListener('online', now);
      window.addEventListener('offline', now);
      this.look();
    }

    addItem(Widget) {
      this.item = button('', () => this.open(), 'slurm-nb-item');
      this.item.hidden = true;
      try {
        const widget = new Widget({ node: this.item });
        widget.id = NAME + '-item';
        this.app.shell.add(widget, 'top', { rank: BESIDE_THE_MENU });
      } catch (error) {
        console.warn('slurm-nb: no item in the bar:', error);
      }
    }

    async look() {
      if (this.looking || this.state === 'ended') return;
      this.looking = true;
      clearTimeout(this.timer);
      let status = 0;
      let session = null;
      try {
        const answer = await this.server.ask(NAME + '/session');
        if (answer.ok) session = await answer.json();
        status = answer.status;
      } catch (error) {
        // no answer
      }
      try {
        this.answered(status, session);
      } catch (error) {
        console.warn('slurm-nb:', error);
      }
      this.looking = false;
      const apart = this.misses ? (document.hidden ? EVERY_MS : RETRY_MS)
        : document.hidden ? HIDDEN_MS : EVERY_MS;
      if (this.state !== 'ended') this.timer = setTimeout(() => this.look(), apart);
    }

    answered(status, session) {
      if (!status) {
        this.missed();
      } else if (session) {
        this.connected(session);
      } else if (this.session && [401, 403, 404].includes(status)) {
        this.end(''); // another server, or another run of the job
      } else if (status === 404) {
        this.state = 'ended'; // the session runs without a monitor
      } else {
        this.misses = 0;
      }
    }

    connected(session) {
      const returned = this.state === 'lost';
      this.misses = 0;
      this.session = session;
      this.state = 'connected';
      this.endsAt = session.seconds_left === null ? null : Date.now() + 1000 * session.seconds_left;
      if (session.ended) {
        this.end(session.ended);
        return;
      }
      this.showNotices(session.notices);
      this.listen();
      this.render();
      if (returned) this.reconnectKernels();
    }

    listen() {
      if (this.socket) return;
      const closed = () => {
        this.socket = null;
        this.look();
      };
      try {
        this.socket = this.server.listen(why => this.end(why), closed);
      } catch (error) {
        // Without it, the page learns about the end at its next poll.
      }
    }

    missed() {
      this.misses += 1;
      if (this.session && this.misses >= MISSES && this.state !== 'lost') {
        this.state = 'lost';
        this.showNotices([]);
      }
      this.render();
    }

    end(why) {
      this.why = why;
      this.state = 'ended';
      clearTimeout(this.timer);
      this.showNotices([]);
      this.render();
    }

    // JupyterLab stops trying after two minutes.
    reconnectKernels() {
      for (const widget of this.app.shell.widgets('main')) {
        const context = widget.context || widget.content;
        const session = context && context.sessionContext && context.sessionContext.session;
        const kernel = session && session.kernel;
        if (kernel && kernel.connectionStatus !== 'connected') kernel.reconnect().catch(() => {});
      }
    }

    showNotices(notices) {
      const current = new Set(notices.map(each => each.id));
      for (const [id, notification] of this.shown) {
        if (!current.has(id)) {
          this.shown.delete(id);
          notification.then(
            known => known && this.app.commands.execute(DISMISS, { id: known })
          ).catch(() => {});
        }
      }
      for (const { id, text, age_s } of notices) {
        if (!this.shown.has(id)) {
          this.shown.set(id, age_s > OLD_S ? Promise.resolve('') : this.notify(text));
        }
      }
    }

    // JupyterLab 3 has no notifications: there, only the job's output has the text.
    notify(text) {
      const options = { autoClose: false };
      const words = { message: NAME + ': ' + text, type: 'warning', options };
      return this.app.commands.execute(NOTIFY, words).catch(() => '');
    }

    // --- what the user sees ---

    get command() {
      return what => code(`slurm-nb ${what} ${this.session.job_id}`);
    }

    get overtime() {
      return this.endsAt !== null && Date.now() > this.endsAt;
    }

    render() {
      if (!this.session) return;
      const { job_id, node, memory } = this.session;
      const parts = [node, `job ${job_id}`];
      if (this.endsAt !== null) parts.push(`${duration((this.endsAt - Date.now()) / 1000)} left`);
      if (memory) parts.push(`${gibibytes(memory.used)} of ${gibibytes(memory.limit)}`);
      const bad = { lost: 'connection lost', ended: 'session ended' }[this.state];
      this.item.hidden = false;
      this.item.textContent = bad ? `${bad} · job ${job_id}` : parts.join(' · ');
      this.item.title = bad ? 'Show what to do' : 'Show the session';
      this.item.classList.toggle('slurm-nb-bad', Boolean(bad));
      this.showBanner();
    }

    showBanner(again = false) {
      const topic = this.state + this.why + this.overtime;
      if (!again && topic === this.topic) return;
      this.topic = topic;
      if (this.banner) this.banner.remove();
      this.banner = null;
      const texts = { lost: () => this.lostTexts(), ended: () => this.endedTexts() }[this.state];
      if (!texts) return;
      if (this.dialog) this.dialog.close();
      const [heading, ...lines] = texts();
      const close = button('×', () => this.banner.remove(), 'slurm-nb-close');
      close.setAttribute('aria-label', 'Close');
      this.banner = make('div', 'slurm-nb-banner', make('strong', '', heading),
        ...lines.map(line => make('p', '', ...line)), close);
      this.banner.setAttribute('role', 'alert');
      document.body.append(this.banner);
    }

    endedTexts() {
      if (!this.why) {
        return [`This page no longer has access to session ${this.session.job_id}.`,
          ['The session has ended, another server uses this address, or the login has expired. ',
            'On the login node: ', this.command('url')]];
      }
      const stop = this.session.cluster === 'local' ? []
        : [['The ssh command on your laptop is still running: stop it with Ctrl-C.']];
      return [`Session ${this.session.job_id} ended: ${this.why}.`,
        this.another('For another one'),
        ['For details: ', this.command('status')], ...stop];
    }

    another(when) {
      const where = this.session.cluster === 'local' ? 'run' : 'run on the login node';
      return [`${when}, ${where}: `, this.command('submit --again')];
    }

    lostTexts() {
      const { job_id, cluster } = this.session;
      const another = this.another('If the session has ended, for another one');
      if (this.overtime) {
        return [`Session ${job_id} has reached its time limit.`,
          this.another('For another one')];
      }
      if (cluster === 'local') {
        return [`This page cannot reach session ${job_id}.`,
          ['It waits for the connection. For details: ', this.command('status')], another];
      }
      return [`This page has lost the connection to session ${job_id}.`,
        ['Is the ssh command on your laptop still running? If not, start it again.'],
        ['On the login node, this prints it: ', this.command('tunnel-cmd')],
        ['The page reconnects by itself. Cells keep running.'], another];
    }

    open() {
      if (this.state !== 'connected') {
        this.showBanner(true);
        return;
      }
      const { job_id, node, memory, kernels, idle_timeout_s, cluster } = this.session;
      const rows = [['Node', node], ['Cluster', cluster]];
      rows.push(['Time left', this.endsAt === null ? 'no limit known'
        : `${duration((this.endsAt - Date.now()) / 1000)}, until ${clock(this.endsAt)}`]);
      rows.push(['Memory', memory ? `${gibibytes(memory.used)} of ${gibibytes(memory.limit)} in use`
        : 'no limit']);
      rows.push(['Kernels', String(kernels)]);
      rows.push(['Ends when idle', idle_timeout_s ? `after ${duration(idle_timeout_s)}` : 'no']);
      rows.push(['Status', this.command('status')]);
      const list = make('dl', '');
      for (const [name, value] of rows) list.append(make('dt', '', name), make('dd', '', value));
      const said = make('p', '');
      said.setAttribute('role', 'status');
      const buttons = make('div', 'slurm-nb-buttons');
      const dialog = make('dialog', 'slurm-nb-dialog', make('h2', '', `Session ${job_id}`), list,
        said, buttons);
      const extend = button('Extend by 1 hour', () => this.extend(extend, said));
      const end = button('End this session', () => this.confirmEnd(said, buttons));
      buttons.append(button('Close', () => dialog.close()), end);
      if (cluster !== 'local' && this.endsAt !== null) buttons.prepend(extend);
      dialog.addEventListener('close', () => {
        dialog.remove();
        this.dialog = null;
      });
      this.dialog = dialog;
      document.body.append(dialog);
      dialog.showModal();
    }

    async extend(button_, said) {
      button_.disabled = true;
      said.textContent = 'Waiting for Slurm to respond...';
      try {
        const init = { method: 'POST' };
        const answer = await this.server.ask(NAME + '/session/extend', init, 60000);
        const { extended, text } = await answer.json();
        if (extended) {
          said.textContent = `Slurm extended the job: ${text}.`;
          this.look();
        } else {
          said.replaceChildren(`Slurm did not extend the job: ${text}. Ask your site's support, or `,
            'save your work and start another session: ', this.command('submit --again'));
        }
      } catch (error) {
        said.textContent = 'The session did not respond.';
      }
      button_.disabled = false;
    }

    confirmEnd(said, buttons) {
      said.textContent = 'End this session? Its kernels stop; unsaved work is lost.';
      const end = button('End it', () => this.shutDown(said, buttons), 'slurm-nb-end');
      buttons.replaceChildren(button('Keep it', () => this.dialog.close()), end);
    }

    async shutDown(said, buttons) {
      said.textContent = 'Ending the session...';
      buttons.replaceChildren();
      try {
        const answer = await this.server.ask('api/shutdown', { method: 'POST' }, 60000);
        if (!answer.ok) throw new Error(answer.status);
        this.end('it was shut down from its page');
      } catch (error) {
        if (this.state === 'ended') return; // the server was quicker than its answer
        said.replaceChildren('Jupyter did not shut down. Run on the login node: ',
          this.command('cancel'));
        buttons.replaceChildren(button('Close', () => this.dialog.close()));
      }
    }
  }

  // --- the extension ---

  let shared = {};
  let page = null;

  // Returns a module of the page's own, or {}.
  async function load(name) {
    try {
      const [version] = Object.values(shared[name]);
      return (await version.get())();
    } catch (error) {
      return {};
    }
  }

  async function plugins() {
    const { Widget } = await load('@lumino/widgets');
    const { IConnectionLost, ConnectionLost } = await load('@jupyterlab/application');
    const session = {
      id: NAME + ':session',
      autoStart: true,
      activate: app => {
        app.restored.then(() => {
          page = new Page(app, Widget);
        });
      }
    };
    // In place of JupyterLab's dialog "Check your network connection": the banner says more.
    const lost = {
      id: NAME + ':connection-lost',
      autoStart: true,
      provides: IConnectionLost,
      activate: () => async (...words) => page && page.session ? page.look()
        : ConnectionLost(...words)
    };
    return IConnectionLost ? [session, lost] : [session];
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: async scope => {
      shared = scope || {};
    },
    get: async () => {
      const all = await plugins();
      return () => ({ __esModule: true, default: all });
    }
  };
})();
