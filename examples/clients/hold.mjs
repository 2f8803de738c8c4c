// Run a command while a token is held: node hold.mjs SOCKET NAME COMMAND...
// Exit code: the command's; 75 if the token was not granted, 76 if it was lost meanwhile.
import { spawn } from "node:child_process";
import http from "node:http";

const [socketPath, name, command, ...args] = process.argv.slice(2);
const path = `/v1/tokens/${name}?timeout=${process.env.TIMEOUT ?? 60}`;
const fail = (why, code) => {
  console.error(String(why));
  process.exit(code);
};

http
  .request({ socketPath, path, method: "POST" }, (answer) => {
    let program;
    answer.setEncoding("utf8");
    answer.on("data", (line) => {
      if (answer.statusCode !== 200) fail(line, 75);
      if (program) return; // the line that tells of a loss; the end follows
      const env = { ...process.env, COORD_TERM: String(JSON.parse(line).term) };
      program = spawn(command, args, { env, stdio: "inherit" });
      program.on("exit", (code) => process.exit(code ?? 1)); // and gives the token back
    });
    answer.on("close", () => {
      program?.kill("SIGKILL");
      fail("the token is lost", 76);
    });
  })
  .on("error", (error) => fail(error, 75))
  .end();
