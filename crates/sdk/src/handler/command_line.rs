//! The command of an approval, taken apart.

use std::path::Path;

use openai_codex_protocol::types::CommandExecutionApprovalKind;

use crate::handler::request_handler::CommandApproval;

/// The shells whose command line is taken apart, and the folders that only the system's administrator writes to.
const SHELLS: [&str; 4] = ["bash", "dash", "sh", "zsh"];
const FOLDERS: [&str; 2] = ["/bin", "/usr/bin"];

impl CommandApproval {
    /// The program and its arguments, out of the command line in `command`. A command of the model is usually a shell with
    /// a script: `["/bin/bash", "-lc", "git status"]`.
    ///
    /// `None` if the request is not about the start of a command, but about input to a running one or about network access; or
    /// if the command line cannot be split into words.
    pub fn argv(&self) -> Option<Vec<String>> {
        let starts_command = matches!(self.params.kind, None | Some(CommandExecutionApprovalKind::Command));
        if !starts_command || self.params.network_approval_context.is_some() {
            return None;
        }
        shlex::split(self.params.command.as_deref()?)
    }

    /// The script of a command that is a shell of the system with a script and nothing else: `git status` of
    /// `/bin/bash -lc 'git status'`.
    ///
    /// `None` for everything else, also for a shell outside of `/bin` and `/usr/bin`: the model can choose the program. Compare
    /// the whole script, since one that only contains an allowed command can do more.
    pub fn shell_command(&self) -> Option<String> {
        let [shell, option, script]: [String; 3] = self.argv()?.try_into().ok()?;
        let shell = Path::new(&shell);
        let is_of_system = FOLDERS.iter().any(|folder| shell.parent() == Some(Path::new(folder)));
        let is_shell = SHELLS.iter().any(|name| shell.file_name() == Some(name.as_ref()));
        (is_of_system && is_shell && ["-c", "-lc"].contains(&&*option)).then_some(script)
    }
}

#[cfg(test)]
mod tests {
    use openai_codex_protocol::types::{CommandExecutionRequestApprovalParams, NetworkApprovalContext};
    use serde_json::json;

    use super::*;

    fn approval(command: Option<&str>) -> CommandApproval {
        let params = json!({
            "threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1, "command": command,
        });
        let params: CommandExecutionRequestApprovalParams = serde_json::from_value(params).unwrap();
        CommandApproval::detached("item/commandExecution/requestApproval", params)
    }

    #[test]
    fn the_script_of_a_system_shell_is_the_shell_command() {
        let script = |command| approval(Some(command)).shell_command();
        assert_eq!(script("/bin/bash -lc 'git status'").as_deref(), Some("git status"));
        assert_eq!(script("/usr/bin/zsh -c ls").as_deref(), Some("ls"));
        assert_eq!(script(r#"/bin/sh -c "echo 'a b'""#).as_deref(), Some("echo 'a b'"));
    }

    #[test]
    fn every_other_command_has_no_shell_command() {
        for command in [
            "git status",
            "bash -lc 'git status'",
            "/tmp/bin/bash -lc 'git status'",
            "/bin/../tmp/bash -lc 'git status'",
            "/bin/bash -lc 'git status' extra",
            "/bin/bash -ic 'git status'",
            "/bin/bash -lc 'git status",
            "/usr/bin/python3 -c 'print()'",
            "",
        ] {
            assert_eq!(approval(Some(command)).shell_command(), None, "{command}");
        }
        assert_eq!(approval(None).shell_command(), None);
    }

    #[test]
    fn input_to_a_running_command_and_network_access_have_no_command() {
        let mut input = approval(Some("/bin/bash -lc 'git status'"));
        input.params.kind = Some(CommandExecutionApprovalKind::WriteStdin);
        assert_eq!((input.argv(), input.shell_command()), (None, None));
        let mut network = approval(Some("/bin/bash -lc 'git status'"));
        let context: NetworkApprovalContext =
            serde_json::from_value(json!({"host": "example.com", "protocol": "https"})).unwrap();
        network.params.network_approval_context = Some(context);
        assert_eq!((network.argv(), network.shell_command()), (None, None));
    }

    #[test]
    fn a_command_line_is_split_into_words() {
        let argv = |command| approval(Some(command)).argv();
        assert_eq!(
            argv("/bin/bash -lc 'git status'"),
            Some(["/bin/bash", "-lc", "git status"].map(String::from).to_vec())
        );
        assert_eq!(argv("a 'unclosed"), None);
        assert_eq!(approval(None).argv(), None);
    }
}
