/** Canonical JSON: RFC 8785, one text for one value, so that it can be signed. */
import { JsonError } from './errors.js';
const MAX_DEPTH = 200;
const TOKENS = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
/**
 * The RFC 8785 form of plain JSON values.
 *
 * Numbers and strings are `JSON.stringify`'s, as the RFC has them; members stand in the order of their names'
 * UTF-16 units, which is JavaScript's own order of strings.
 *
 * @throws JsonError anything that JSON cannot say: NaN, lone surrogates, undefined, functions; endless nesting.
 */
export function canonical(value, depth = 0) {
    if (depth > MAX_DEPTH)
        throw new JsonError('nested too deeply');
    switch (typeof value) {
        case 'string':
            if (/\p{Surrogate}/u.test(value))
                throw new JsonError('a lone surrogate');
            return JSON.stringify(value);
        case 'number':
            if (!Number.isFinite(value))
                throw new JsonError('a number must be finite');
            return JSON.stringify(value);
        case 'boolean':
            return String(value);
        case 'object':
            return value === null ? 'null' : container(value, depth);
        default:
            throw new JsonError(`unsupported type: ${typeof value}`);
    }
}
function container(value, depth) {
    if (Array.isArray(value))
        return `[${value.map((item) => canonical(item, depth + 1)).join(',')}]`;
    const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
    return `{${entries.map(([name, member]) => `${canonical(name)}:${canonical(member, depth + 1)}`).join(',')}}`;
}
/**
 * JSON text as values, every number a double.
 *
 * @throws JsonError it is not JSON, or an object has one name twice, which readers take in different ways.
 */
export function parseJson(text) {
    let value;
    try {
        value = JSON.parse(text);
    }
    catch (error) {
        throw new JsonError(`not JSON: ${error.message}`);
    }
    // The text is JSON, so that strings and braces are all there is to look at.
    const open = [];
    for (const [token, colon] of text.matchAll(TOKENS)) {
        if (token === '{')
            open.push(new Set());
        else if (token === '}')
            open.pop();
        else if (colon !== undefined)
            addName(open.at(-1), JSON.parse(token.slice(0, -colon.length)));
    }
    return value;
}
function addName(names, name) {
    if (names?.has(name))
        throw new JsonError('not JSON: an object has one name twice');
    names?.add(name);
}
