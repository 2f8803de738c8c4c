// Loads, waits at its gate, and acts once its node is active: the socket, without a library.
import net from "node:net";

function gate() {
  const name = process.env.COORD_GATE;
  if (!name) return Promise.resolve(process.env.COORD_TERM); // it was started without a gate
  return new Promise((resolve, reject) => {
    let told = "";
    const line = net.connect({ path: name.replace("@", "\0") });
    line.on("data", (more) => (told += more));
    line.on("error", reject);
    line.on("close", () => {
      const [term, session] = told.trim().split(" ");
      if (!session) process.exit(76); // the gate is closed for good
      resolve(term);
    });
  });
}

console.log(`loaded ${process.env.COORD_NODE}`);
const term = await gate();
console.log(`acts ${process.env.COORD_NODE} term ${term}`);
setInterval(() => {}, 1000);
