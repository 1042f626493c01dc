// What is to be done in good order before the process ends.

const shutdownHooks = []; // place

/** Has `hook` called when the process ends. Returns what takes it off the list again. */
export function onShutdown(hook) {
  shutdownHooks.push(hook); // place
  return () => {
    const index = shutdownHooks.lastIndexOf(hook);
    if (index >= 0) shutdownHooks.splice(index, 1);
  };
}

/** Calls them, the latest first. One that fails does not keep the others from running. */
export function runShutdownHooks() {
  let failed = 0;
  while (shutdownHooks.length > 0) {
    try {
      shutdownHooks.pop()();
    } catch {
      failed += 1;
    }
  }
  return failed;
}
