//! redis-rs: blocking, asynchronous, and its cluster class. Prints a line of JSON for each.

use futures_util::StreamExt;
use redis::{AsyncCommands, Commands, Script};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

const SCRIPT: &str = "return redis.call('get', KEYS[1])";
const KEYS: usize = 200;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What each check saw: `yes`, or what went wrong.
struct Seen(BTreeMap<&'static str, String>);

impl Seen {
    fn note(&mut self, check: &'static str, outcome: Outcome) {
        let text = match outcome {
            Ok(()) => "yes".to_owned(),
            Err(error) => error.to_string().replace(['"', '\\', '\n'], " "),
        };
        self.0.insert(check, text);
    }

    fn print(&self, client: &str) {
        let checks: Vec<String> =
            self.0.iter().map(|(check, seen)| format!("\"{check}\": \"{seen}\"")).collect();
        println!(
            "{{\"client\": \"{client}\", \"version\": \"{}\", \"checks\": {{{}}}}}",
            env!("REDIS_RS_VERSION"),
            checks.join(", ")
        );
    }
}

fn expect<T: PartialEq + Debug>(got: T, wanted: T) -> Outcome {
    if got == wanted {
        Ok(())
    } else {
        Err(format!("{got:?} is not {wanted:?}").into())
    }
}

/// What every class of connection can do.
fn common(tag: &str, connection: &mut impl Commands) -> Seen {
    let mut seen = Seen(BTreeMap::new());
    seen.note("get/set", get_set(tag, connection));
    seen.note("blocking pop", blocking(tag, connection));
    seen.note("script", script(tag, connection));
    seen
}

fn get_set(tag: &str, connection: &mut impl Commands) -> Outcome {
    let () = connection.set(tag, "1")?;
    let value: String = connection.get(tag)?;
    expect(value.as_str(), "1")
}

fn blocking(tag: &str, connection: &mut impl Commands) -> Outcome {
    let list = format!("{tag}:list");
    let _: i64 = connection.rpush(&list, "x")?;
    let pair: (String, String) = connection.blpop(&list, 5.0)?;
    expect(pair, (list, "x".to_owned()))
}

fn script(tag: &str, connection: &mut impl Commands) -> Outcome {
    // EVALSHA first, and EVAL where the script is not known.
    let value: String = Script::new(SCRIPT).key(tag).invoke(connection)?;
    expect(value.as_str(), "1")
}

fn plain(client: &redis::Client) -> redis::RedisResult<()> {
    let tag = "redis-rs";
    let mut connection = client.get_connection()?;
    let mut seen = common(tag, &mut connection);
    seen.note("pipeline", {
        let mut pipe = redis::pipe();
        for n in 0..KEYS {
            pipe.set(format!("{tag}:{n}"), n);
        }
        pipe.query::<Vec<String>>(&mut connection)
            .map_err(Into::into)
            .and_then(|replies| expect(replies, vec!["OK".to_owned(); KEYS]))
    });
    seen.note("transaction", {
        let key = format!("{{{tag}}}:a");
        let mut pipe = redis::pipe();
        pipe.atomic().set(&key, 1).incr(&key, 1);
        pipe.query::<(String, i64)>(&mut connection)
            .map_err(Into::into)
            .and_then(|done| expect(done, ("OK".to_owned(), 2)))
    });
    seen.note("pub/sub", heard(tag, client, &mut connection));
    seen.note("scan", {
        let found = connection.scan_match::<_, String>(format!("{tag}:*"));
        found.map_err(Into::into).and_then(|found| {
            let found: Result<BTreeSet<String>, _> =
                found.map(|key| redis::RedisResult::from(key.into_result())).collect();
            enough(found?.len())
        })
    });
    seen.print("redis-rs");
    Ok(())
}

/// The iterator's items are results in later versions, and bare keys in earlier ones.
trait IntoKey {
    fn into_result(self) -> redis::RedisResult<String>;
}

impl IntoKey for redis::RedisResult<String> {
    fn into_result(self) -> redis::RedisResult<String> {
        self
    }
}

fn enough(found: usize) -> Outcome {
    if found >= KEYS { Ok(()) } else { Err(format!("{found} keys").into()) }
}

fn heard(tag: &str, client: &redis::Client, connection: &mut redis::Connection) -> Outcome {
    let mut listening = client.get_connection()?;
    listening.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let mut listener = listening.as_pubsub();
    listener.subscribe(tag)?;
    let _: i64 = connection.publish(tag, "hi")?;
    let text: String = listener.get_message()?.get_payload()?;
    expect(text.as_str(), "hi")
}

fn cluster(url: &str) -> redis::RedisResult<()> {
    let tag = "redis-rs-cluster";
    let client = redis::cluster::ClusterClient::new(vec![url])?;
    let mut connection = client.get_connection()?;
    let mut seen = common(tag, &mut connection);
    seen.note("pipeline", {
        let mut pipe = redis::cluster::cluster_pipe();
        for n in 0..KEYS {
            pipe.set(format!("{tag}:{n}"), n);
        }
        pipe.query::<Vec<String>>(&mut connection)
            .map_err(Into::into)
            .and_then(|replies| expect(replies, vec!["OK".to_owned(); KEYS]))
    });
    seen.print("redis-rs cluster");
    Ok(())
}

async fn multiplexed(client: &redis::Client) -> redis::RedisResult<()> {
    let tag = "redis-rs-tokio";
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut seen = Seen(BTreeMap::new());
    let () = connection.set(tag, "1").await?;
    let value: String = connection.get(tag).await?;
    seen.note("get/set", expect(value.as_str(), "1"));
    let key = format!("{{{tag}}}:a");
    let mut pipe = redis::pipe();
    pipe.atomic().set(&key, 1).incr(&key, 1);
    let done: redis::RedisResult<(String, i64)> = pipe.query_async(&mut connection).await;
    seen.note("transaction", done.map_err(Into::into).and_then(|d| expect(d, ("OK".into(), 2))));
    let mut pipe = redis::pipe();
    for n in 0..KEYS {
        pipe.set(format!("{tag}:{n}"), n);
    }
    let replies: redis::RedisResult<Vec<String>> = pipe.query_async(&mut connection).await;
    let wanted = vec!["OK".to_owned(); KEYS];
    seen.note("pipeline", replies.map_err(Into::into).and_then(|got| expect(got, wanted)));
    let value: redis::RedisResult<String> =
        Script::new(SCRIPT).key(tag).invoke_async(&mut connection).await;
    seen.note("script", value.map_err(Into::into).and_then(|v| expect(v.as_str(), "1")));
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(tag).await?;
    let _: i64 = connection.publish(tag, "hi").await?;
    let mut messages = listener.on_message();
    let next = tokio::time::timeout(std::time::Duration::from_secs(5), messages.next());
    seen.note("pub/sub", match next.await {
        Ok(Some(message)) => expect(message.get_payload::<String>()?.as_str(), "hi"),
        _ => Err("no message within 5 s".into()),
    });
    seen.print("redis-rs, tokio");
    Ok(())
}

fn main() {
    let port = std::env::args().nth(1).expect("a port");
    let url = format!("redis://127.0.0.1:{port}/");
    let client = redis::Client::open(url.as_str()).expect("a URL");
    plain(&client).expect("redis-rs");
    cluster(&url).expect("redis-rs cluster");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(multiplexed(&client)).expect("redis-rs, tokio");
}
