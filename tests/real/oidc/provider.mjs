// A real OpenID provider for the tests: `node provider.mjs PORT [URL]`. One client gets JWT access tokens
// (RFC 9068) for the resource that it names, with the groups that the provider knows it by. People sign in
// for the other, a dashboard at URL, by any name and password; their ID tokens hold their groups.
import Provider from 'oidc-provider';

const issuer = `http://127.0.0.1:${process.argv[2]}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'pipeline',
    client_secret: 'a-secret-of-the-tests',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  }, {
    client_id: 'dashboard',
    client_secret: 'another-secret-of-the-tests',
    redirect_uris: [`${process.argv[3] ?? 'http://localhost'}/login/callback`],
  }],
  claims: { openid: ['sub'], groups: ['groups'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: ['deployers'] }),
  }),
  pkce: { required: () => true },
  extraTokenClaims: () => ({ groups: ['deployers'] }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
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
