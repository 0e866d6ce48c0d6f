/* hiredis: the C library, blocking. Built and run by run.py. */

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG "hiredis"
#define KEYS 200

static redisContext *connect_to(int port) {
    struct timeval timeout = {10, 0};
    redisContext *context = redisConnectWithTimeout("127.0.0.1", port, timeout);
    if (context == NULL || context->err) {
        fprintf(stderr, "connect: %s\n", context ? context->errstr : "no memory");
        exit(1);
    }
    redisSetTimeout(context, timeout);
    return context;
}

/* Why a check failed; empty where it did not. */
static char why[512];

/* Whether a reply is this text; it is freed. */
static int is_text(redisReply *reply, const char *text) {
    int same = reply != NULL && reply->str != NULL && strcmp(reply->str, text) == 0;
    if (!same)
        snprintf(why, sizeof why, "%s is not %s", reply && reply->str ? reply->str : "nothing", text);
    freeReplyObject(reply);
    return same;
}

static redisReply *next(redisContext *context) {
    redisReply *reply = NULL;
    if (redisGetReply(context, (void **)&reply) != REDIS_OK)
        snprintf(why, sizeof why, "%s", context->errstr);
    return reply;
}

static int get_set(redisContext *context) {
    return is_text(redisCommand(context, "SET %s 1", TAG), "OK") &&
           is_text(redisCommand(context, "GET %s", TAG), "1");
}

static int pipeline(redisContext *context) {
    for (int n = 0; n < KEYS; n++)
        redisAppendCommand(context, "SET %s:%d %d", TAG, n, n);
    int good = 1;
    for (int n = 0; n < KEYS; n++)
        good = is_text(next(context), "OK") && good;
    return good;
}

static int transaction(redisContext *context) {
    redisAppendCommand(context, "MULTI");
    redisAppendCommand(context, "SET {%s}:a 1", TAG);
    redisAppendCommand(context, "INCR {%s}:a", TAG);
    redisAppendCommand(context, "EXEC");
    int good = is_text(next(context), "OK");
    good = is_text(next(context), "QUEUED") && good;
    good = is_text(next(context), "QUEUED") && good;
    redisReply *reply = next(context);
    if (good && (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
                 reply->element[1]->integer != 2)) {
        snprintf(why, sizeof why, "EXEC was answered otherwise");
        good = 0;
    }
    freeReplyObject(reply);
    return good;
}

static int blocking(redisContext *context) {
    freeReplyObject(redisCommand(context, "RPUSH %s:list x", TAG));
    redisReply *reply = redisCommand(context, "BLPOP %s:list 5", TAG);
    int good = reply != NULL && reply->elements == 2 && strcmp(reply->element[1]->str, "x") == 0;
    if (!good)
        snprintf(why, sizeof why, "BLPOP was answered otherwise");
    freeReplyObject(reply);
    return good;
}

static int pubsub(redisContext *context, int port) {
    redisContext *listener = connect_to(port);
    freeReplyObject(redisCommand(listener, "SUBSCRIBE %s", TAG));
    /* How many it counts depends on the node it goes to. */
    freeReplyObject(redisCommand(context, "PUBLISH %s hi", TAG));
    int good = 1;
    redisReply *reply = next(listener);
    if (good && (reply == NULL || reply->elements != 3 || strcmp(reply->element[2]->str, "hi") != 0)) {
        snprintf(why, sizeof why, "no message");
        good = 0;
    }
    freeReplyObject(reply);
    redisFree(listener);
    return good;
}

static int script(redisContext *context) {
    return is_text(redisCommand(context, "EVAL %s 1 %s", "return redis.call('get', KEYS[1])", TAG), "1");
}

static int scan(redisContext *context) {
    char cursor[32] = "0";
    size_t found = 0;
    do {
        redisReply *reply = redisCommand(context, "SCAN %s MATCH %s:* COUNT 1000", cursor, TAG);
        if (reply == NULL || reply->elements != 2) {
            snprintf(why, sizeof why, "SCAN was answered otherwise");
            freeReplyObject(reply);
            return 0;
        }
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        found += reply->element[1]->elements;
        freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0);
    if (found < KEYS)
        snprintf(why, sizeof why, "%zu keys", found);
    return found >= KEYS;
}

static void say(const char *check, int good, int last) {
    printf("\"%s\": \"%s\"%s", check, good ? "yes" : why, last ? "" : ", ");
    why[0] = 0;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 6379;
    redisContext *context = connect_to(port);
    printf("{\"client\": \"hiredis\", \"version\": \"%d.%d.%d\", \"checks\": {", HIREDIS_MAJOR, HIREDIS_MINOR,
           HIREDIS_PATCH);
    say("get/set", get_set(context), 0);
    say("pipeline", pipeline(context), 0);
    say("transaction", transaction(context), 0);
    say("blocking pop", blocking(context), 0);
    say("pub/sub", pubsub(context, port), 0);
    say("script", script(context), 0);
    say("scan", scan(context), 1);
    printf("}}\n");
    redisFree(context);
    return 0;
}
