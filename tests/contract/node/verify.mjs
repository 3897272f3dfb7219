// Verifies, with npm's jose and nothing of ours, a signed report and a JWT: { report, token, jwks, issuer, now } on
// standard input, { report: [kid, …], token: claims } or { error } on standard output.
import { text } from 'node:stream/consumers'
import { createLocalJWKSet, generalVerify, jwtVerify } from 'jose'

// RFC 8785 is JSON.stringify with the members of each object in the order of their names' UTF-16 units.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)
  return `{${members.join(',')}}`
}

async function verifyReport({ signatures, ...report }, keys) {
  const payload = Buffer.from(canonical(report)).toString('base64url')
  const signers = []
  for (const signature of signatures) {
    const { protectedHeader } = await generalVerify({ payload, signatures: [signature] }, keys)
    signers.push(`${protectedHeader.alg} ${protectedHeader.kid}`)
  }
  return signers
}

const { report, token, jwks, issuer, now } = JSON.parse(await text(process.stdin))
const keys = createLocalJWKSet(jwks)
try {
  const signers = await verifyReport(report, keys)
  const { payload } = await jwtVerify(token, keys, { issuer, currentDate: new Date(now), typ: 'JWT' })
  console.log(JSON.stringify({ report: signers, token: payload }))
} catch (error) {
  console.log(JSON.stringify({ error: error.code }))
}
