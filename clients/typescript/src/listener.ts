import * as http2 from "node:http2";
import * as net from "node:net";
import { rmSync } from "node:fs";
import { once } from "node:events";

/** Where a session manager dials in: a Unix socket that only this user may open, or loopback. */
export type Address = { readonly path: string } | { readonly host: string; readonly port: number };

/** Read `unix:/path.sock` or `host:port` of loopback. Throws for anything else: the stream is neither encrypted nor
 * authenticated. */
export function address(text: string): Address {
  if (text.startsWith("unix:/")) return { path: text.slice("unix:".length) };
  const [, host, port] = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65535) {
    throw new Error(`--listen is '${text}', expected unix:/path.sock or a loopback address with a port`);
  }
  return { host: host.replace(/[[\]]/g, ""), port: Number(port) };
}

/** Listen; a socket file that a killed process left behind is replaced. Throws where the address is in use. */
export async function listen(server: http2.Http2Server, where: Address): Promise<void> {
  process.umask(0o077);
  if ("path" in where && (await abandoned(where.path))) rmSync(where.path);
  server.listen(where);
  await once(server, "listening");
}

/** Whether there is a socket file at which nobody answers. A file that is no socket is not ours to remove. */
async function abandoned(path: string): Promise<boolean> {
  const probe = net.connect(path);
  try {
    await once(probe, "connect");
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ECONNREFUSED";
  } finally {
    probe.destroy();
  }
}
