/**
 * The RFC 8785 form of plain JSON values.
 *
 * Numbers and strings are `JSON.stringify`'s, as the RFC has them; members stand in the order of their names'
 * UTF-16 units, which is JavaScript's own order of strings.
 *
 * @throws JsonError anything that JSON cannot say: NaN, lone surrogates, undefined, functions; endless nesting.
 */
export declare function canonical(value: unknown, depth?: number): string;
/**
 * JSON text as values, every number a double.
 *
 * @throws JsonError it is not JSON, or an object has one name twice, which readers take in different ways.
 */
export declare function parseJson(text: string): unknown;
