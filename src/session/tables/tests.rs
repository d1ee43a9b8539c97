//! Tables that nobody needs.

use super::*;
use crate::unwind::TableParts;

fn smallest() -> Table {
    let rule = |cfa: u8| [0, 0, 0, 0, 0, 0, 0, 0, cfa, 0, 0, 0];
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let parts = TableParts {
        first_page: 1,
        index: words(&[2 | 1 << 8, 0]),
        rows: words(&[0, 0, 0x10_0001]),
        rules: [rule(0), rule(3)].concat(),
        skipped: 0,
    };
    Table::from_parts(&parts).expect("is one")
}

#[test]
fn a_table_is_given_back_when_no_process_has_its_module_any_more_and_comes_again_when_it_is_needed()
{
    let (workers, wanted, done) = Workers::without_threads();
    let mut tables = Tables::with(workers, None, TABLE_BUDGET);
    let id = ModuleId(5);
    let module = Arc::new(Module {
        kind: ModuleKind::File { dev: 1, inode: 1 },
        path: "module".into(),
        seen_in: None,
    });
    tables.want(id, &module);
    tables.collect(FxHashSet::default);
    assert_eq!(wanted.try_iter().count(), 1);
    let table = Some((Fingerprint::of_number(1), Arc::new(smallest())));
    let origin = Origin::Module;
    let built = Done::Built {
        module: id,
        table,
        origin,
    };
    done.send(built).expect("is taken in");
    tables.collect(FxHashSet::default);
    let is_there = |tables: &Tables| matches!(tables.rows(id), Rows::Table(_));
    assert!(is_there(&tables));
    tables.give_back(FxHashSet::default);
    assert!(is_there(&tables), "it was made a moment ago");
    let later = |tables: &mut Tables| tables.now = tables.now.plus(2 * STALE);
    later(&mut tables);
    tables.give_back(|| [id].into_iter().collect());
    assert!(is_there(&tables), "it is mapped");
    later(&mut tables);
    tables.give_back(FxHashSet::default);
    assert!(!is_there(&tables));
    assert_eq!((tables.cost().bytes, tables.cost().evicted), (0, 0));
    tables.need(id, &module);
    tables.collect(FxHashSet::default);
    assert_eq!(wanted.try_iter().count(), 1);
}
