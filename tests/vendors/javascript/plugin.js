// A component plugin in JavaScript, against wit/ alone: its backup reads a file of each host.
import { read } from 'runner:plugin/files@0.1.0';
import { write } from 'runner:plugin/log@0.1.0';

const report = (summary) => ({ changed: false, summary, outputs: '{}', artifacts: [], versions: [], warnings: [] });

export const operations = {
  backup(invocation) {
    const orders = invocation.target.hosts.map(({ name }) => (
      { host: name, path: '/etc/hostname', offset: 0n, limit: 100, sensitive: false }));
    const names = read(orders).map((answer) => answer.tag === 'ok'
      ? new TextDecoder().decode(answer.val.data).trim()
      : JSON.stringify(answer.val));
    write('info', 'asked from JavaScript', []);
    return report('read ' + names.join(', '));
  },
  update: () => report('nothing to do'),
  backout: () => report('nothing to do'),
  verify: () => ({ checks: [], versions: [] }),
};
