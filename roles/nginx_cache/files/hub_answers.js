// JupyterHub and its users' servers share the site's host name, and a user's server sends whatever its user wants. These functions let
// through what Jupyter needs, and drop everything else (docs/adr/0040).

// Headers of answers that concern the answer alone, not the host name. `Set-Cookie` is examined below.
const PASSED = [
    'accept-ranges', 'allow', 'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-length',
    'content-range', 'content-security-policy', 'content-type', 'date', 'etag', 'expires', 'last-modified', 'location', 'retry-after',
    'sec-websocket-accept', 'sec-websocket-extensions', 'sec-websocket-protocol', 'transfer-encoding', 'upgrade', 'vary',
    'x-jupyterhub-version',
];

// Return the path below which an answer may set cookies, with a slash at its end, or an empty string for nowhere. The path of the request
// counts as it was written: what configurable-http-proxy may read differently gets nothing.
function cookie_scope(request_uri) {
    const path = request_uri.split('?')[0];
    if (/\\|%2e|%2f|%5c|\/\/|\/\.\.?(?:\/|$)/i.test(path)) {
        return '';
    }
    if (path.startsWith('/jupyter/hub/')) {
        return '/jupyter/';
    }
    const own = /^\/jupyter\/user\/[a-z0-9_.-]+\//i.exec(path);
    return own ? own[0] : '';
}

// Return a cookie as it may be set below a path, or an empty string. It is composed anew, so that a browser and this function cannot
// disagree on what an unusual line means.
function own_cookie(line, scope) {
    const parts = line.split(';').map((part) => part.trim());
    const attributes = parts.slice(1).map((part) => {
        const name = part.split('=')[0];
        return [name.trim().toLowerCase(), part.slice(name.length + 1).trim()];
    });
    const paths = attributes.filter((each) => each[0] === 'path');
    if (!scope || !/^[^=]+=/.test(parts[0]) || /[^\x20-\x7e]/.test(line)
        || paths.length !== 1 || !paths[0][1].startsWith(scope) || attributes.some((each) => each[0] === 'domain')) {
        return '';
    }
    const kept = attributes.filter((each) => ['expires', 'max-age', 'httponly', 'samesite'].includes(each[0]));
    if (!kept.some((each) => each[0] === 'samesite')) {
        kept.push(['samesite', 'Lax']);
    }
    return [parts[0], `Path=${paths[0][1]}`, 'Secure']
        .concat(kept.map((each) => (each[1] ? `${each[0]}=${each[1]}` : each[0])))
        .join('; ');
}

// Remove from an answer every header that is not listed, here or in nginx_cache_jupyterhub_headers_extra.
function filter(r) {
    const more = r.variables.hub_headers_extra.split(' ');
    const set = r.headersOut['Set-Cookie'] || [];
    const scope = cookie_scope(r.variables.request_uri);
    const cookies = set.map((line) => own_cookie(line, scope)).filter((line) => line);
    Object.keys(r.headersOut).forEach((name) => {
        const lower = name.toLowerCase();
        if (lower === 'set-cookie' || !(PASSED.includes(lower) || more.includes(lower))) {
            delete r.headersOut[name];
        }
    });
    if (cookies.length) {
        r.headersOut['Set-Cookie'] = cookies;
    }
}

// Return the cookies of a request that are Jupyter's own: a user's server must not read OMERO.web's.
function cookies(r) {
    return (r.variables.http_cookie || '')
        .split(';')
        .map((pair) => pair.trim())
        .filter((pair) => /^(?:_xsrf|jupyterhub-[^=]*)=/.test(pair))
        .join('; ');
}

export default { cookies, filter };
