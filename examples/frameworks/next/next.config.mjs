/** @type {import('next').NextConfig} */
export default {
  poweredByHeader: false,
  // Other folders with lock files lie above this one; without this Next looks for the root of the workspace there.
  outputFileTracingRoot: import.meta.dirname,
  turbopack: { root: import.meta.dirname },
};
