/* http_curl.c: an HTTP exchange through libcurl. Redirects are followed here and not by libcurl, so that
 * what may be sent where is decided in one place. */
#include "store/http.h"

#include "base/clock.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_REDIRECTS = 10 };

typedef struct exchange {
    const qn_http_request *q;
    qn_http_response *r;
    quern_status body_status;
    quern_error body_error;
} exchange;

/* Copies a header's value without blanks around it; one that does not fit is left out. */
static void take_value(char *out, size_t out_size, const char *value, size_t n)
{
    while (n > 0 && (*value == ' ' || *value == '\t')) value++, n--;
    while (n > 0 && isspace((unsigned char)value[n - 1])) n--;
    if (n >= out_size) n = 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f) n = 0;
    memcpy(out, value, n);
    out[n] = '\0';
}

static bool parse_u64(const char *text, uint64_t *out)
{
    size_t n = 0;
    *out = 0;
    for (; text[n] >= '0' && text[n] <= '9'; n++)
        if (n >= 18) return false;
        else *out = *out * 10 + (uint64_t)(text[n] - '0');
    return n > 0 && text[n] == '\0';
}

/* "bytes 100-199/200"; a 416 has an asterisk for the first two and tells the total alone */
static void parse_content_range(qn_http_response *r, const char *text)
{
    char copy[96];
    if (strncasecmp(text, "bytes ", 6) != 0 || strlen(text) >= sizeof copy) return;
    if (strncmp(text + 6, "*/", 2) == 0 && !parse_u64(text + 8, &r->range_total)) r->range_total = 0;
    strcpy(copy, text + 6);
    char *minus = strchr(copy, '-'), *slash = strchr(copy, '/');
    if (minus == NULL || slash == NULL || minus > slash) return;
    *minus = '\0';
    if (strcmp(slash + 1, "*") == 0) r->range_total = 0;
    else if (!parse_u64(slash + 1, &r->range_total)) return;
    r->has_range = parse_u64(copy, &r->range_first);
}

/* Link: <https://...>; rel="next" */
static void parse_link(qn_http_response *r, const char *text)
{
    const char *end = text[0] == '<' ? strchr(text, '>') : NULL;
    if (end != NULL && strstr(end, "rel=\"next\"") != NULL)
        take_value(r->link_next, sizeof r->link_next, text + 1, (size_t)(end - text) - 1);
}

static void take_header(qn_http_response *r, const char *name, size_t n_name, const char *value,
                        size_t n_value)
{
    char text[QN_URL_MAX + 1];
    take_value(text, sizeof text, value, n_value);
    struct {
        const char *name;
        char *out;
        size_t size;
    } plain[] = {
        {"etag", r->etag, sizeof r->etag},
        {"x-linked-etag", r->linked_etag, sizeof r->linked_etag},
        {"x-repo-commit", r->repo_commit, sizeof r->repo_commit},
        {"content-type", r->content_type, sizeof r->content_type},
        {"content-encoding", r->content_encoding, sizeof r->content_encoding},
        {"x-error-message", r->message, sizeof r->message},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strlen(plain[i].name) == n_name && strncasecmp(name, plain[i].name, n_name) == 0)
            take_value(plain[i].out, plain[i].size, text, strlen(text));
    uint64_t number;
    if (n_name == 14 && strncasecmp(name, "content-length", 14) == 0)
        r->has_length = parse_u64(text, &r->content_length);
    if (n_name == 13 && strncasecmp(name, "x-linked-size", 13) == 0)
        r->has_linked_size = parse_u64(text, &r->linked_size);
    if (n_name == 13 && strncasecmp(name, "content-range", 13) == 0) parse_content_range(r, text);
    if (n_name == 4 && strncasecmp(name, "link", 4) == 0) parse_link(r, text);
    if (n_name == 11 && strncasecmp(name, "retry-after", 11) == 0 && parse_u64(text, &number))
        r->retry_after_s = number < 86400 ? (long)number : 86400;
}

static void clear_response(qn_http_response *r)
{
    memset(r, 0, sizeof *r);
    r->retry_after_s = -1;
}

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    exchange *x = user;
    const char *colon = memchr(line, ':', n);
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
        clear_response(x->r); /* also after a 100 or a proxy's answer */
    else if (colon != NULL)
        take_header(x->r, line, (size_t)(colon - line), colon + 1, n - (size_t)(colon - line) - 1);
    return size * n;
}

typedef struct body_user {
    exchange *x;
    CURL *curl;
} body_user;

static size_t on_body(char *bytes, size_t size, size_t n, void *user)
{
    body_user *u = user;
    exchange *x = u->x;
    long status = 0;
    curl_easy_getinfo(u->curl, CURLINFO_RESPONSE_CODE, &status);
    x->r->status = (int)status;
    if (status >= 300 && status < 400) return size * n; /* the page beside a redirect */
    if (x->q->body == NULL) return size * n;
    x->body_status = x->q->body(x->q->user, x->r, bytes, size * n, &x->body_error);
    return x->body_status == QUERN_OK ? size * n : 0;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    const exchange *x = user;
    return x->q->alive != NULL && !x->q->alive(x->q->user);
}

/* Whether two URLs have the same scheme, host and port. */
static bool same_origin(const char *a, const char *b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *ua = curl_url(), *ub = curl_url();
    bool same = ua != NULL && ub != NULL && curl_url_set(ua, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(ub, CURLUPART_URL, b, 0) == CURLUE_OK;
    for (size_t i = 0; same && i < 3; i++) {
        char *pa = NULL, *pb = NULL;
        same = curl_url_get(ua, parts[i], &pa, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               curl_url_get(ub, parts[i], &pb, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(pa, pb) == 0;
        curl_free(pa);
        curl_free(pb);
    }
    curl_url_cleanup(ua);
    curl_url_cleanup(ub);
    return same;
}

static struct curl_slist *add_header(struct curl_slist *list, bool *ok, const char *name, const char *value)
{
    char line[1024];
    const int n = snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *longer = n > 0 && (size_t)n < sizeof line ? curl_slist_append(list, line) : NULL;
    if (longer == NULL) *ok = false;
    return longer != NULL ? longer : list;
}

static bool set_options(CURL *curl, exchange *x, body_user *u, const char *url, struct curl_slist **headers)
{
    const qn_http_request *q = x->q;
    bool ok = true;
    if (q->token != NULL && same_origin(url, q->token_url)) {
        char value[600];
        snprintf(value, sizeof value, "Bearer %.512s", q->token);
        *headers = add_header(*headers, &ok, "Authorization", value);
    }
    *headers = add_header(*headers, &ok, "Accept-Encoding", "identity");
    if (q->range_from > 0) {
        char range[40];
        snprintf(range, sizeof range, "%llu-", (unsigned long long)q->range_from);
        ok = ok && curl_easy_setopt(curl, CURLOPT_RANGE, range) == CURLE_OK;
        if (q->if_range != NULL) *headers = add_header(*headers, &ok, "If-Range", q->if_range);
    }
    const char *protocols = strncasecmp(url, "https:", 6) == 0 ? "https" : "http";
#if LIBCURL_VERSION_NUM >= 0x075500
    ok = ok && curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols) == CURLE_OK;
#else
    ok = ok &&
         curl_easy_setopt(curl, CURLOPT_PROTOCOLS,
                          strcmp(protocols, "https") == 0 ? CURLPROTO_HTTPS : CURLPROTO_HTTP) == CURLE_OK;
#endif
    ok = ok && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
    curl_easy_setopt(curl, CURLOPT_NOBODY, q->head ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "quern/" QUERN_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, q->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, q->stall_timeout_s);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, u);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    return ok;
}

/* Failures that another attempt may cure: the wire, not the wish. */
static bool may_help(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

/* One request; `location` receives the address of a redirect, made absolute, or "". */
static quern_status perform(exchange *x, const char *url, char location[QN_URL_MAX + 1], bool *again,
                            quern_error *err)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = NULL;
    body_user u = {x, curl};
    clear_response(x->r);
    location[0] = '\0';
    const qn_quoted shown = qn_quote(url, strlen(url));
    quern_status s = QUERN_OK;
    if (curl == NULL || !set_options(curl, x, &u, url, &headers)) {
        s = qn_fail(err, QUERN_ERR_NETWORK, "%s: libcurl refuses the request", shown.text);
    } else {
        const CURLcode code = curl_easy_perform(curl);
        long status = 0;
        const char *to = NULL;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &to);
        x->r->status = (int)status;
        if (code == CURLE_ABORTED_BY_CALLBACK) {
            s = qn_fail(err, QUERN_ERR_CANCELED, "%s: canceled", shown.text);
        } else if (code == CURLE_WRITE_ERROR && x->body_status != QUERN_OK) {
            s = x->body_status;
            if (err != NULL) *err = x->body_error;
        } else if (code != CURLE_OK) {
            *again = may_help(code);
            s = qn_fail(err, QUERN_ERR_NETWORK, "%s: %s", shown.text, curl_easy_strerror(code));
        } else if (status >= 300 && status < 400 && to != NULL) {
            take_value(location, QN_URL_MAX + 1, to, strlen(to));
        }
    }
    curl_slist_free_all(headers);
    if (curl != NULL) curl_easy_cleanup(curl);
    return s;
}

quern_status qn_http_exchange(const qn_http_request *q, qn_http_response *r, bool *again, quern_error *err)
{
    exchange x = {.q = q, .r = r, .body_status = QUERN_OK};
    char url[QN_URL_MAX + 1], location[QN_URL_MAX + 1];
    *again = false;
    if (strlen(q->url) > QN_URL_MAX)
        return qn_fail(err, QUERN_ERR_ARGUMENT, "the address is longer than %d bytes", QN_URL_MAX);
    strcpy(url, q->url);
    for (int hop = 0; hop <= MAX_REDIRECTS; hop++) {
        quern_status s = perform(&x, url, location, again, err);
        if (s != QUERN_OK || location[0] == '\0') return s;
        if (q->stop_at_other_host && !same_origin(url, location)) return QUERN_OK;
        const bool secure = strncasecmp(url, "https:", 6) == 0,
                   to_http = strncasecmp(location, "http:", 5) == 0;
        if ((secure && to_http) || (!to_http && strncasecmp(location, "https:", 6) != 0))
            return qn_fail(err, QUERN_ERR_NETWORK, "%s: redirects to %s, which is refused (not https)",
                           qn_quote(url, strlen(url)).text, qn_quote(location, strlen(location)).text);
        strcpy(url, location);
    }
    return qn_fail(err, QUERN_ERR_NETWORK, "%s: more than %d redirects",
                   qn_quote(q->url, strlen(q->url)).text, MAX_REDIRECTS);
}
