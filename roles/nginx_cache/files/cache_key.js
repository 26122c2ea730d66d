// Return the parameters of an address sorted by name (those of the same name in their original order), without the changing `_`.
function ordered_args(r) {
    return r.variables.args
        .split('&')
        .filter((pair) => pair !== '' && !/^_=[0-9]+$/.test(pair))
        .map((pair, place) => [pair.split('=')[0], place, pair])
        .sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1]))
        .map((entry) => entry[2])
        .join('&');
}

export default { ordered_args };
