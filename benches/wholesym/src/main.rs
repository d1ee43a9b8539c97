//! `wholesym-addr2line -a -f -i -C -e FILE`: the wholesym library, which has no program, behind the interface of addr2line. The flags are not
//! read, as this is all that it does; addresses are lines of standard input.

use std::io::{BufWriter, Write};
use std::path::Path;

use wholesym::{FrameDebugInfo, LookupAddress, SymbolManager, SymbolManagerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    if words.iter().any(|word| word == "--version") {
        println!("wholesym {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let file = words
        .iter()
        .skip_while(|word| *word != "-e")
        .nth(1)
        .ok_or("no -e FILE")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(answer(Path::new(file)))
}

async fn answer(file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let manager = SymbolManager::with_config(SymbolManagerConfig::default());
    let symbols = manager
        .load_symbol_map_for_binary_at_path(file, None)
        .await?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lines() {
        let line = line?;
        let address = u64::from_str_radix(line.trim().trim_start_matches("0x"), 16)?;
        writeln!(out, "{address:#018x}")?;
        let found = symbols.lookup(LookupAddress::Svma(address)).await;
        match found.as_ref().map(|found| (&found.symbol, &found.frames)) {
            None => writeln!(out, "??\n??:0")?,
            Some((symbol, None)) => writeln!(out, "{}\n??:0", symbol.name)?,
            Some((_, Some(frames))) => {
                for frame in frames {
                    write_frame(&mut out, frame)?;
                }
            }
        }
    }
    Ok(out.flush()?)
}

fn write_frame(out: &mut impl Write, frame: &FrameDebugInfo) -> std::io::Result<()> {
    let file = frame.file_path.as_ref().map(|path| path.display_path());
    writeln!(
        out,
        "{}\n{}:{}",
        frame.function.as_deref().unwrap_or("??"),
        file.as_deref().unwrap_or("??"),
        frame.line_number.unwrap_or(0)
    )
}
