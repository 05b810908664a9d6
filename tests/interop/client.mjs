// Node as a client of the interop matrix: client.mjs VERSION CA LONG SHORT.
//
// One line for each connection: the step, what the client says of its handshake, and the page that the server sent.

import { readFileSync } from 'node:fs';
import tls from 'node:tls';

const [version, ca, long, short] = process.argv.slice(2);

// One connection, from the handshake to the server's close. Resolves to the newest session.
function connect(step, port, session, servername = 'localhost') {
  return new Promise((resolve, reject) => {
    let newest;
    let page = '';
    const socket = tls.connect({
      host: '127.0.0.1',
      port: Number(port),
      servername,
      session,
      ca: readFileSync(ca),
      minVersion: `TLSv${version}`,
      maxVersion: `TLSv${version}`,
    });
    socket.setEncoding('utf8');
    socket.setTimeout(20_000, () => socket.destroy(new Error(`${step}: no answer in time`)));
    socket.on('error', reject);
    // With TLS 1.3 it comes with the ticket, that is, after the handshake.
    socket.on('session', (given) => { newest = given; });
    socket.on('data', (chunk) => { page += chunk; });
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('end', () => {
      const says = socket.isSessionReused() ? 'resumed' : 'full';
      console.log(step, says, page.trimEnd().split('\n').at(-1));
      resolve(newest ?? socket.getSession());
    });
  });
}

const first = await connect('full', long);
const second = await connect('resumed', long, first);
await connect('twice', long, first);
// With TLS 1.3 the second is a session that was never used; with TLS 1.2 it is the first again.
await connect('name', long, second, 'other.localhost');
await connect('expired', short, await connect('full', short));
