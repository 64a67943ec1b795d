//! The message enums stay small and cheap.

use openai_codex_protocol::{Notification, NotificationKind, ServerRequest};

#[test]
fn the_message_enums_stay_small() {
    // Less where `serde_json` sorts the keys of objects, as it does when this crate is built alone. They were 216 and 256 with
    // the fields of runtime 0.163.0 alone.
    assert!(size_of::<Notification>() <= 232, "{}", size_of::<Notification>());
    assert!(size_of::<ServerRequest>() <= 280, "{}", size_of::<ServerRequest>());
    assert_eq!(size_of::<NotificationKind>(), 1);
}

#[test]
fn keys_may_come_in_any_order_and_be_escaped() {
    let frame = r#"{"emittedAtMs":1,"params":{"\u0064elta":"h\u0069\n","itemId":"i","turnId":"t","threadId":"T"},"method":"item/agentMessage/delta"}"#;
    let Notification::AgentMessageDelta(delta) = Notification::decode_frame(frame) else { panic!("a delta") };
    assert_eq!(delta.delta, "hi\n");
    assert!(delta.extra.is_empty());
}
