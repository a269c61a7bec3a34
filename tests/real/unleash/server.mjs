// A real Unleash for the tests: `node server.mjs PORT DATABASE_PORT TOKEN`, over a PostgreSQL that trusts everybody.
process.env.INIT_ADMIN_API_TOKENS = process.argv[4];
const { start } = await import('unleash-server');
await start({
  db: { host: '127.0.0.1', port: Number(process.argv[3]), user: 'unleash', password: '', database: 'postgres', ssl: false },
  server: { host: '127.0.0.1', port: Number(process.argv[2]) },
  versionCheck: { enable: false },
  telemetry: false,
});
