// For servers whose upstream is written into their code: their requests go to a server of the test's own.
const real = globalThis.fetch;
globalThis.fetch = (address, options) =>
  real(String(address).replace(process.env.REDIRECT_FROM, process.env.REDIRECT_TO), options);
