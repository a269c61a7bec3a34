// A real OpenID provider for the tests: `node provider.mjs PORT`. Its one client gets JWT access tokens
// (RFC 9068) for the resource that it names, with the groups that the provider knows it by.
import Provider from 'oidc-provider';

const issuer = `http://127.0.0.1:${process.argv[2]}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'pipeline',
    client_secret: 'a-secret-of-the-tests',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  }],
  extraTokenClaims: () => ({ groups: ['deployers'] }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'api',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
