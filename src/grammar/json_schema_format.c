/* json_schema_format.c: the values of "format" that say something, as regular expressions of whole strings.
 *
 * Dates and times: RFC 3339 (the days of each month, leap years; no leap seconds, at most 9 digits of a
 * second); durations: its appendix A; addresses: RFC 5321, 1123, 2673, 4291; URIs: RFC 3986; pointers: RFC
 * 6901. */
#include "grammar/json_schema_compile.h"

#include <string.h>

#define YEAR    "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d\\d|[1-9]\\d{3})"
#define OF_LEAP "(?:0[48]|[2468][048]|[13579][26])" /* two digits: a multiple of 4, not 00 */
#define OF_MONTH                                                                                             \
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|"                    \
    "02-(?:0[1-9]|1\\d|2[0-8]))"
#define DATE "(?:" YEAR "-" OF_MONTH "|(?:\\d\\d" OF_LEAP "|" OF_LEAP "00)-02-29)"
#define HOUR "(?:[01]\\d|2[0-3])"
#define TIME HOUR ":[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-]" HOUR ":[0-5]\\d)"

#define NUMBER   "\\d{1,9}"
#define DAYS     NUMBER "D"
#define MONTHS   NUMBER "M(?:" DAYS ")?"
#define YEARS    NUMBER "Y(?:" MONTHS ")?"
#define SECONDS  NUMBER "S"
#define MINUTES  NUMBER "M(?:" SECONDS ")?"
#define HOURS    NUMBER "H(?:" MINUTES ")?"
#define OF_DAY   "T(?:" HOURS "|" MINUTES "|" SECONDS ")"
#define DURATION "P(?:" NUMBER "W|(?:" YEARS "|" MONTHS "|" DAYS ")(?:" OF_DAY ")?|" OF_DAY ")"

/* At most 253 characters: up to 4 labels of any length, or up to 10 short ones. */
#define LABEL(inner) "[A-Za-z0-9](?:[A-Za-z0-9-]{0," inner "}[A-Za-z0-9])?"
#define HOSTNAME     "(?:" LABEL("60") "(?:\\." LABEL("60") "){0,3}|" LABEL("20") "(?:\\." LABEL("20") "){4,9})"
#define ATOM         "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"
#define EMAIL        ATOM "(?:\\." ATOM "){0,2}@" HOSTNAME

#define OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4  OCTET "(?:\\." OCTET "){3}"
#define H16   "[0-9A-Fa-f]{1,4}"
#define IPV6                                                                                                 \
    "(?:(?:" H16 ":){7}" H16 "|(?:" H16 ":){1,7}:|(?:" H16 ":){1,6}:" H16 "|"                                \
    "(?:" H16 ":){1,5}(?::" H16 "){2}|(?:" H16 ":){1,4}(?::" H16 "){3}|(?:" H16 ":){1,3}(?::" H16 "){4}|"    \
    "(?:" H16 ":){1,2}(?::" H16 "){5}|" H16 ":(?::" H16 "){6}|:(?:(?::" H16 "){1,7}|:)|"                     \
    "(?:" H16 ":){6}" IPV4 "|::(?:" H16 ":){0,5}" IPV4 "|" H16 ":(?::" H16 "){0,4}:" IPV4 "|"                \
    "(?:" H16 ":){2}(?::" H16 "){0,3}:" IPV4 "|(?:" H16 ":){3}(?::" H16 "){0,2}:" IPV4 "|"                   \
    "(?:" H16 ":){4}(?::" H16 ")?:" IPV4 "|(?:" H16 ":){5}:" IPV4 ")"

#define PERCENT "%[0-9A-Fa-f]{2}"
#define IN_NAME "[A-Za-z0-9._~!$&'()*+,;=-]" /* unreserved characters and sub-delimiters of RFC 3986 */
#define IN_PATH "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" PERCENT ")"
#define AUTHORITY                                                                                            \
    "(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|" PERCENT ")*@)?(?:\\[" IPV6 "\\]|(?:" IN_NAME "|" PERCENT ")+)"      \
    "(?::\\d{0,5})?"
#define SEGMENTS "(?:/" IN_PATH "*)*"
#define ABSOLUTE "/(?:" IN_PATH "+" SEGMENTS ")?"
#define TAIL     "(?:\\?(?:" IN_PATH "|[/?])*)?(?:#(?:" IN_PATH "|[/?])*)?"
#define URI      "[A-Za-z][A-Za-z0-9+.-]*:(?://" AUTHORITY SEGMENTS "|" ABSOLUTE "|" IN_PATH "+" SEGMENTS "|)" TAIL
#define RELATIVE                                                                                             \
    "(?://" AUTHORITY SEGMENTS "|" ABSOLUTE "|(?:[A-Za-z0-9._~!$&'()*+,;=@-]|" PERCENT ")+" SEGMENTS "|"     \
    ")" TAIL

/* Parts of the above that count little. */
#define SIMPLE_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,14}[A-Za-z0-9])?"
#define SIMPLE_HOST  SIMPLE_LABEL "(?:\\." SIMPLE_LABEL ")*"
#define SIMPLE_ATOM  "[A-Za-z0-9_+-]{1,15}"
#define SIMPLE_EMAIL SIMPLE_ATOM "(?:\\." SIMPLE_ATOM "){0,3}@" SIMPLE_HOST
#define SIMPLE_URI                                                                                           \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*(?::\\d{1,5})?)?" SEGMENTS TAIL

#define HEX     "[0-9A-Fa-f]"
#define POINTER "(?:/(?:[^/~]|~[01])*)*"

static const schema_format formats[] = {
    {"date", DATE, true, NULL, 0},
    {"time", TIME, false, NULL, 0},
    {"date-time", DATE "T" TIME, false, NULL, 0},
    {"duration", DURATION, false, NULL, 0},
    {"email", EMAIL, false, SIMPLE_EMAIL, 254},
    {"hostname", HOSTNAME, false, SIMPLE_HOST, 253},
    {"ipv4", IPV4, true, NULL, 0},
    {"ipv6", IPV6, true, NULL, 0},
    {"uri", URI, false, SIMPLE_URI, 500},
    {"uri-reference", URI "|" RELATIVE, false, SIMPLE_URI, 500},
    {"uuid", HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}", true, NULL, 0},
    {"json-pointer", POINTER, true, NULL, 0},
    {"relative-json-pointer", "(?:0|[1-9]\\d{0,8})(?:#|" POINTER ")", false, NULL, 0},
};

const schema_format *schema_find_format(const json_t *name)
{
    const char *text = json_string_value(name);
    for (size_t i = 0; text != NULL && i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(formats[i].name, text) == 0) return &formats[i];
    return NULL;
}
