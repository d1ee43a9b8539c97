//! The compilers that work at run time, by the names of their own functions and threads: one table.

use crate::model::{CompilerShare, FrameName, NameKind, Row};

/// By what a compiler is known.
struct Compiler {
    name: &'static str,
    /// Beginnings of the demangled names of its functions.
    functions: &'static [&'static str],
    /// Names of its threads, as the kernel cuts them off; the process gives them to nothing else.
    threads: &'static [&'static str],
}

/// In the order in which they are asked: a stack is the first one's that knows a frame of it, outermost frame first.
const COMPILERS: &[Compiler] = &[
    Compiler {
        name: "V8 Maglev",
        functions: &["v8::internal::maglev::"],
        threads: &[],
    },
    Compiler {
        name: "V8 Sparkplug",
        functions: &[
            "v8::internal::baseline::",
            "v8::internal::Compiler::CompileBaseline",
        ],
        threads: &[],
    },
    Compiler {
        name: "V8 TurboFan",
        functions: &[
            "v8::internal::compiler::",
            "v8::internal::OptimizedCompilationJob::",
            "v8::internal::OptimizingCompileDispatcher::",
            "v8::internal::TurbofanCompilationJob::",
        ],
        threads: &[],
    },
    Compiler {
        name: "V8 bytecode",
        functions: &[
            "v8::internal::interpreter::InterpreterCompilationJob::",
            "v8::internal::parsing::",
        ],
        threads: &[],
    },
    Compiler {
        name: "HotSpot C1",
        functions: &["Compiler::compile_method(", "Compilation::"],
        threads: &["C1 CompilerThre"],
    },
    Compiler {
        name: "HotSpot C2",
        functions: &["C2Compiler::compile_method(", "Compile::Compile("],
        threads: &["C2 CompilerThre"],
    },
    Compiler {
        name: "LLVM ORC",
        functions: &["llvm::orc::"],
        threads: &[],
    },
    Compiler {
        name: "LuaJIT",
        functions: &["lj_trace_", "lj_asm_trace", "lj_opt_"],
        threads: &[],
    },
];

/// Adds the weights of the rows that are a compiler's.
pub fn add_up(rows: &[Row], shares: &mut Vec<CompilerShare>) {
    for row in rows {
        let Some(compiler) = compiler_of(&row.task.comm, &row.frames) else {
            continue;
        };
        let at = match shares.iter().position(|share| share.compiler == compiler) {
            Some(at) => at,
            None => {
                shares.push(CompilerShare {
                    compiler,
                    weights: vec![Default::default(); row.weights.len()],
                });
                shares.len() - 1
            }
        };
        let weights = shares[at].weights.iter_mut().zip(&row.weights);
        weights.for_each(|(sum, weight)| sum.merge(weight));
    }
}

/// The compiler whose work a stack is, root first.
fn compiler_of(thread: &str, frames: &[FrameName]) -> Option<&'static str> {
    if let Some(compiler) = COMPILERS
        .iter()
        .find(|compiler| compiler.threads.contains(&thread))
    {
        return Some(compiler.name);
    }
    let own = frames
        .iter()
        .filter(|frame| matches!(frame.kind, NameKind::User | NameKind::Inlined));
    own.filter(|frame| frame.unnamed.is_none())
        .find_map(|frame| {
            let is_its = |compiler: &&Compiler| {
                let mut functions = compiler.functions.iter();
                functions.any(|function| begins(&frame.text, function))
            };
            COMPILERS.iter().find(is_its).map(|compiler| compiler.name)
        })
}

/// Whether a demangled name is of a function that begins so: behind what a template's name says that it returns, too.
fn begins(name: &str, function: &str) -> bool {
    let before_parameters = &name[..name.find('(').map_or(name.len(), |at| at + 1)];
    before_parameters
        .match_indices(function)
        .any(|(at, _)| at == 0 || before_parameters[..at].ends_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(thread: &str, frames: &[&str], expected: Option<&str>) {
        let frames: Vec<FrameName> = frames
            .iter()
            .map(|text| FrameName {
                text: (*text).into(),
                kind: NameKind::User,
                unnamed: None,
            })
            .collect();
        assert_eq!(
            compiler_of(thread, &frames),
            expected,
            "{thread} {frames:?}"
        );
    }

    #[test]
    fn a_compiler_is_known_by_its_functions() {
        let turbofan =
            "v8::internal::compiler::PipelineImpl::OptimizeGraph(v8::internal::compiler::Linkage*)";
        check("node", &["main", turbofan, "malloc"], Some("V8 TurboFan"));
        check(
            "node",
            &["v8::internal::maglev::MaglevCompiler::Compile()", turbofan],
            Some("V8 Maglev"),
        );
        let template =
            "void v8::internal::compiler::PipelineImpl::Run<v8::internal::compiler::Phase>()";
        check("node", &[template], Some("V8 TurboFan"));
        check(
            "java",
            &["Compilation::compile_method()"],
            Some("HotSpot C1"),
        );
    }

    #[test]
    fn or_by_its_threads() {
        check("C2 CompilerThre", &["[libjvm.so+0x10]"], Some("HotSpot C2"));
        check("C1 CompilerThre", &[], Some("HotSpot C1"));
    }

    #[test]
    fn what_only_mentions_it_is_not_its() {
        check("node", &["use(v8::internal::compiler::Linkage*)"], None);
        check("node", &["my::v8::internal::compiler::f()"], None);
        check(
            "java",
            &["MyCompilation::run()", "C2Compiler::initialize()"],
            None,
        );
        check("node", &[], None);
    }
}
